#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a text classifier: one label per text, several labels, or a number.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, from a recipe, with a tokenizer trained on the training texts:

    python run_classification.py --train_file TRAIN.csv --do_train --do_eval --output_dir DIR

`train_classifier.py` does the same in one file without the library in `wave_hf.training`.
"""

from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.classification import (
    ClassificationArguments,
    infer_classification_task,
    load_metric,
    read_classification_rows,
)
from wave_hf.training.data import load_splits
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.rows import tokenize, training_texts
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.tasks import make_compute_metrics
from wave_hf.training.trainer import make_trainer, train_evaluate_predict


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(ClassificationArguments)
        needed = needed_splits(training_args)

        # The raw rows, and the task that their labels define.
        raw = load_splits(model_args, data_args, needed)
        config = load_config(model_args)
        task = infer_classification_task(config, raw, data_args)
        metric = load_metric(data_args.metric_name, task)

        # Rows of text and label, with validation rows held out if there are none.
        rows = read_classification_rows(raw, task, data_args, needed)

        # The model learns the task; a new tokenizer is trained on the training texts.
        task.write_to(config)
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args, config, training_texts(rows), training_args.seed, checkpoint
        )
        splits = tokenize(rows, tokenizer, config, task, data_args)
        create_repository(training_args)

    trainer = make_trainer(training_args, model, tokenizer, splits, make_compute_metrics(task, metric))
    train_evaluate_predict(trainer, splits, task, "predict_results", data_args.output_probabilities)
    publish(trainer, model_args, data_args)


if __name__ == "__main__":
    main()
