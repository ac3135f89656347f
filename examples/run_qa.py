#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a model that finds the answer to a question in a text.

The flow and the options are those of transformers' example of the same name, and so are the columns, those of SQuAD:
`id`, `question`, `context` and `answers` (`text` and `answer_start`); SQuAD's own nested files are read, too. In
addition a model may start from scratch:

    python run_qa.py --config_name wave-encoder --train_file TRAIN.json --do_train --do_eval --output_dir DIR

Without data it learns to find the description of a parameter in documentation strings.
"""

from pathlib import Path
from typing import Any

from transformers import AutoModelForQuestionAnswering, EvalPrediction

from wave_hf.documentation_tasks import load_parameters
from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import load_raw_datasets
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.question_answering import (
    InOrderTrainer,
    QaArguments,
    cut_into_windows,
    read_questions,
    stack_logits,
    training_texts,
    write_answers,
)
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.squad import score_answers
from wave_hf.training.trainer import make_trainer, train_and_evaluate


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(QaArguments)
        needed = needed_splits(training_args)

        # Questions, contexts and answers, with validation rows held out if there are none.
        config = load_config(model_args)
        raw = load_raw_datasets(model_args, data_args, load_parameters)
        rows = read_questions(raw, data_args, needed, training_args.seed)

        # A new tokenizer is trained on the training texts.
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args, config, training_texts(rows), training_args.seed, checkpoint, AutoModelForQuestionAnswering
        )
        # The model reads a question and one window of its context at a time.
        windows = cut_into_windows(rows, tokenizer, model.config, data_args)
        create_repository(training_args)

    folder = Path(str(training_args.output_dir))

    def compute_metrics(output: EvalPrediction) -> dict[str, float]:
        logits: Any = output.predictions
        answers = write_answers(rows["validation"], windows["validation"], logits, data_args, folder, "eval")
        return score_answers(answers, rows["validation"]["answers"])

    inputs = {split: of_split.remove_columns(["row", "offsets"]) for split, of_split in windows.items()}
    trainer = make_trainer(
        training_args,
        model,
        tokenizer,
        inputs,
        compute_metrics,
        trainer_class=InOrderTrainer,
        preprocess_logits_for_metrics=stack_logits,
    )
    train_and_evaluate(trainer, inputs)
    if training_args.do_predict:
        logits: Any = trainer.predict(inputs["test"], metric_key_prefix="predict").predictions
        write_answers(rows["test"], windows["test"], logits, data_args, folder, "predict")
    publish(trainer, model_args, data_args, "question-answering")


if __name__ == "__main__":
    main()
