# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Classification of texts: the options, the task and the rows of `run_classification.py` and `run_distillation.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import PreTrainedConfig

from .data import hold_out_and_limit
from .errors import exit_on_error
from .labels import LabelArguments, infer_task
from .rows import check_labels, read_rows
from .tasks import Metric, Task


@dataclass
class ClassificationArguments(LabelArguments):
    """Which splits and columns hold the texts and labels, and how a classifier is evaluated."""

    text_column_names: str | None = field(
        default=None, metadata={"help": "Text columns to join, separated by commas. None: text, or sentence."}
    )
    text_column_delimiter: str = field(default=" ", metadata={"help": "String between the joined texts."})
    label_column_name: str = field(  # type: ignore[misc]
        default="label", metadata={"help": "Label column: names or numbers of classes, lists of them, or floats."}
    )
    train_split_name: str = field(default="train", metadata={"help": "Split to train on."})
    validation_split_name: str = field(default="validation", metadata={"help": "Split to evaluate on."})
    test_split_name: str = field(default="test", metadata={"help": "Split to predict."})
    remove_splits: str | None = field(default=None, metadata={"help": "Splits to ignore, separated by commas."})
    remove_columns: str | None = field(  # type: ignore[misc]
        default=None, metadata={"help": "Columns to ignore, separated by commas."}
    )
    shuffle_train_dataset: bool = field(
        default=False, metadata={"help": "Shuffle the training rows before max_train_samples is applied."}
    )
    shuffle_seed: int = field(default=42, metadata={"help": "Seed of the shuffle and of the held-out rows."})
    metric_name: str | None = field(
        default=None, metadata={"help": "Metric of the evaluate library. None: accuracy, micro-averaged F1 or MSE."}
    )
    output_probabilities: bool = field(default=False, metadata={"help": "Also write the probability of each label."})

    def split_names(self, raw: Mapping[str, Any]) -> dict[str, str]:
        """Return the name that each split has in the raw data, without the splits to ignore.

        Raises:
            SystemExit: The data have no split of a name that the user gave.
        """
        removed = (self.remove_splits or "").split(",")
        names = {
            "train": self.train_split_name,
            "validation": self.validation_split_name,
            "test": self.test_split_name,
        }
        for split, name in names.items():
            if name != split and name not in raw:
                raise SystemExit(f"--{split}_split_name is {name!r}, but the data have the splits {', '.join(raw)}")
        return {split: name for split, name in names.items() if name not in removed}

    def text_columns(self, rows: Dataset, split: str) -> dict[str, list[str]]:
        """Return the columns to join into the text."""
        default = "text" if "text" in rows.column_names else "sentence"
        return {"text": (self.text_column_names or default).split(",")}


def infer_classification_task(
    config: PreTrainedConfig, splits: Mapping[str, Dataset], data_args: ClassificationArguments
) -> Task:
    """Infer the task, see `infer_task`, and refuse options that it does not have."""
    options = (data_args.do_regression, data_args.do_multi_label)
    task = infer_task(config, splits, data_args.label_column_name, *options)
    if data_args.output_probabilities and task.problem_type == "regression":
        raise SystemExit("--output_probabilities: a regression has no probabilities")
    return task


def load_metric(metric_name: str | None, task: Task) -> Metric:
    """Return a metric of the evaluate library, or the default metrics of the task if none is named."""
    if metric_name is None:
        return task.default_metrics
    import evaluate  # here, because it takes a second and few runs need it

    is_multi_label = task.problem_type == "multi_label_classification"
    with exit_on_error(f"Metric {metric_name}"):
        compute = evaluate.load(metric_name, "multilabel" if is_multi_label else None).compute
    options = {"average": "micro"} if is_multi_label else {}
    return lambda predictions, references: compute(predictions=predictions, references=references, **options)


def read_classification_rows(
    splits: DatasetDict, task: Task, data_args: ClassificationArguments, needed: set[str]
) -> dict[str, Dataset]:
    """Read the text and label of each row, hold out validation rows if there are none, and limit their number.

    Args:
        splits: Rows with any columns.
        task: The task of the labels.
        data_args: Which columns, how many rows, and the seed of their choice.
        needed: The splits to return.

    Returns:
        The needed splits with the columns `text` and, except in rows to predict, `label`.

    Raises:
        SystemExit: A column or a label is missing, or a label is not one of the task.
    """
    rows = read_rows(
        splits, task, data_args.text_columns, data_args.label_column_name, data_args.text_column_delimiter
    )
    check_labels(rows, task)
    if data_args.shuffle_train_dataset and "train" in rows:
        rows["train"] = rows["train"].shuffle(seed=data_args.shuffle_seed)
    return hold_out_and_limit(rows, data_args, needed, data_args.shuffle_seed, task.stratify_column)
