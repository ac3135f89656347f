#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
r"""Distil trained classifiers, the teachers, into a smaller one.

The network learns the teachers' logits beside the labels, on texts with and without labels. The options and files are
those of run_classification.py, which also fine-tunes a teacher:

    python run_distillation.py --teacher_model_name_or_path TEACHER --train_file TRAIN.csv --do_train --do_eval \
        --output_dir DIR
"""

from functools import partial

from datasets import concatenate_datasets

from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.classification import infer_classification_task, load_metric, read_classification_rows
from wave_hf.training.data import load_splits
from wave_hf.training.distillation import (
    DistillationArguments,
    DistillationTrainer,
    add_unlabeled,
    assign_batches,
    label_batches,
    load_teachers,
)
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
        model_args, data_args, training_args = setup_run(DistillationArguments)
        if not training_args.do_train:
            raise SystemExit("Nothing to distil: pass --do_train, or use the trained model with run_classification.py")
        needed = needed_splits(training_args)

        # The raw rows, and the task that their labels define.
        raw = load_splits(model_args, data_args, needed)
        config = load_config(model_args)
        task = infer_classification_task(config, raw, data_args)
        if task.problem_type != "single_label_classification":
            raise SystemExit(f"Distillation needs one label per text, but the training data is of {task.problem_type}")
        metric = load_metric(data_args.metric_name, task)

        # Rows of text and label, the texts without labels and those made from others, and the teachers of each.
        rows = read_classification_rows(raw, task, data_args, needed)
        teachers = load_teachers(model_args, data_args, training_args, task)
        batches = assign_batches(add_unlabeled(rows["train"], model_args, data_args, task), teachers, data_args)
        rows["train"] = concatenate_datasets([texts for texts, _ in batches])

        # The student learns the task; a new tokenizer is trained on the training texts.
        task.write_to(config)
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args, config, training_texts(rows), training_args.seed, checkpoint
        )
        splits = tokenize(rows, tokenizer, config, task, data_args)
        create_repository(training_args)

    # The first process computes the logits, and the others read them from its cache.
    with exit_all_ranks(), training_args.main_process_first():
        logits = label_batches(batches, task, data_args)
    splits["train"] = splits["train"].add_column("teacher_logits", logits.tolist())
    training_args.remove_unused_columns = False  # the model does not take the column, but the loss does

    trainer_class = partial(
        DistillationTrainer, temperature=data_args.temperature, hard_loss_weight=data_args.hard_loss_weight
    )
    trainer = make_trainer(training_args, model, tokenizer, splits, make_compute_metrics(task, metric), trainer_class)
    train_evaluate_predict(trainer, splits, task, "predict_results", data_args.output_probabilities)
    publish(trainer, model_args, data_args)


if __name__ == "__main__":
    main()
