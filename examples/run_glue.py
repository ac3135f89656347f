#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a model on a task of GLUE, or on rows of one or two sentences of your own.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, and the rows of a task may come from files:

    python run_glue.py --task_name rte --do_train --do_eval --output_dir DIR
    python run_glue.py --task_name rte --train_file TRAIN.csv --validation_file VALIDATION.csv ...
"""

from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.glue import GlueArguments, load_glue
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_model_and_tokenizer
from wave_hf.training.rows import tokenize, training_texts
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.tasks import make_compute_metrics
from wave_hf.training.trainer import make_trainer, train_evaluate_predict


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(GlueArguments)

        # The rows of text, or text and text_pair, and the task that their labels define.
        needed = needed_splits(training_args)
        config, task, rows, metric = load_glue(model_args, data_args, needed, training_args.seed)

        # The model learns the task; a new tokenizer is trained on the training texts.
        task.write_to(config)
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args, config, training_texts(rows), training_args.seed, checkpoint
        )
        splits = tokenize(rows, tokenizer, config, task, data_args)
        create_repository(training_args)

    trainer = make_trainer(training_args, model, tokenizer, splits, make_compute_metrics(task, metric))
    train_evaluate_predict(trainer, splits, task, f"predict_results_{data_args.task_name}")
    publish(trainer, model_args, data_args)


if __name__ == "__main__":
    main()
