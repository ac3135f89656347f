#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a text classifier: one label per text, several labels, or a number.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, from a recipe of examples/configs, with a tokenizer trained on the training texts:

    python examples/run_classification.py --train_file TRAIN.csv --do_train --do_eval --output_dir DIR
"""

from dataclasses import dataclass, field

from common import (
    DataArguments,
    Metric,
    ModelArguments,
    Task,
    create_repository,
    exit_all_ranks,
    exit_on_error,
    load_config,
    make_trainer,
    needed_splits,
    prepare_for_trainer,
    publish,
    run,
    make_compute_metrics,
    start,
)
from datasets import Dataset, DatasetDict
from rows import check_labels, hold_out_and_limit, infer_task, load_raw_datasets, read_rows, select_splits
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments


@dataclass
class DataTrainingArguments(DataArguments):
    """Which rows and columns are read, and what is made of them."""

    text_column_names: str | None = field(
        default=None, metadata={"help": "Text columns, with commas between; they are joined. None: text, or sentence."}
    )
    text_column_delimiter: str = field(default=" ", metadata={"help": "Stands between the joined texts."})
    label_column_name: str = field(
        default="label", metadata={"help": "Label column: names or numbers of classes, lists of them, or floats."}
    )
    # Not `bool | None`, which would want a value on the command line.
    do_regression: bool = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Regression or not. None: if the labels are floats."}
    )
    train_split_name: str = field(default="train", metadata={"help": "Split to train on."})
    validation_split_name: str = field(default="validation", metadata={"help": "Split to evaluate on."})
    test_split_name: str = field(default="test", metadata={"help": "Split to predict."})
    remove_splits: str | None = field(default=None, metadata={"help": "Splits to ignore, with commas between."})
    remove_columns: str | None = field(default=None, metadata={"help": "Columns to ignore, with commas between."})
    shuffle_train_dataset: bool = field(
        default=False, metadata={"help": "Shuffle before max_train_samples is applied."}
    )
    shuffle_seed: int = field(default=42, metadata={"help": "Seed of that, and of the choice of held-out rows."})
    metric_name: str | None = field(
        default=None, metadata={"help": "Metric of the evaluate library. None: accuracy, micro-averaged F1 or mse."}
    )
    output_probabilities: bool = field(default=False, metadata={"help": "Write each label's probability, too."})


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, training_args = start(DataTrainingArguments)
        model, tokenizer, task, splits, metric = build(model_args, data_args, training_args)
        create_repository(training_args)
    trainer = make_trainer(training_args, model, tokenizer, splits, make_compute_metrics(task, metric))
    run(trainer, splits, task, "predict_results", data_args.output_probabilities)
    publish(trainer, model_args, data_args)


def build(
    model_args: ModelArguments, data_args: DataTrainingArguments, training_args: TrainingArguments
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Task, dict[str, Dataset], Metric]:
    """Return the model, its tokenizer, the task, the rows as token ids, and the metric."""
    config, task, splits, metric = load_data(model_args, data_args, needed_splits(training_args))
    model, tokenizer, tokenized = prepare_for_trainer(model_args, data_args, training_args, config, task, splits)
    return model, tokenizer, task, tokenized, metric


def load_data(
    model_args: ModelArguments, data_args: DataTrainingArguments, needed: set[str]
) -> tuple[PreTrainedConfig, Task, dict[str, Dataset], Metric]:
    """Return the config, the task, the needed splits as rows of text and label, and the metric."""
    config = load_config(model_args)
    raw = select_columns(load_raw_datasets(data_args, model_args), data_args, needed)
    task = infer_task(config, raw, data_args.label_column_name, data_args.do_regression)
    if data_args.output_probabilities and task.problem_type == "regression":
        raise SystemExit("--output_probabilities: a regression has no probabilities")
    metric = load_metric(data_args.metric_name, task)
    splits = read_splits(raw, task, data_args)
    check_labels(splits, task)
    if data_args.shuffle_train_dataset and "train" in splits:
        splits["train"] = splits["train"].shuffle(seed=data_args.shuffle_seed)
    return config, task, hold_out_and_limit(splits, task, data_args, needed, data_args.shuffle_seed), metric


def select_columns(raw: DatasetDict, data_args: DataTrainingArguments, needed: set[str]) -> DatasetDict:
    """Return the splits this run needs, called train, validation and test, without the columns to ignore."""
    names = {
        "train": data_args.train_split_name,
        "validation": data_args.validation_split_name,
        "test": data_args.test_split_name,
    }
    removed_splits = (data_args.remove_splits or "").split(",")
    removed_columns = (data_args.remove_columns or "").split(",")
    kept = DatasetDict({name: rows for name, rows in raw.items() if name not in removed_splits})
    selected = select_splits(kept, names, needed, data_args.label_column_name)
    for split, rows in selected.items():
        selected[split] = rows.remove_columns([column for column in rows.column_names if column in removed_columns])
    return selected


def read_splits(raw: DatasetDict, task: Task, data_args: DataTrainingArguments) -> DatasetDict:
    """Reduce the rows to text and label."""
    splits = DatasetDict()
    for split, rows in raw.items():
        default = "text" if "text" in rows.column_names else "sentence"
        columns = {"text": (data_args.text_column_names or default).split(",")}
        label_column, delimiter = data_args.label_column_name, data_args.text_column_delimiter
        splits[split] = read_rows(rows, split, task, columns, label_column, delimiter)
    return splits


def load_metric(metric_name: str | None, task: Task) -> Metric:
    """Return a metric of the evaluate library, or the task's own."""
    if metric_name is None:
        return task.default_metrics
    import evaluate  # here, because it takes a second and few runs need it

    is_multi_label = task.problem_type == "multi_label_classification"
    with exit_on_error(f"Metric {metric_name}"):
        compute = evaluate.load(metric_name, "multilabel" if is_multi_label else None).compute
    options = {"average": "micro"} if is_multi_label else {}
    return lambda predictions, references: compute(predictions=predictions, references=references, **options)


if __name__ == "__main__":
    main()
