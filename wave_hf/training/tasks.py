# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Tasks on whole texts: what the labels mean, how rows are read for them, and how predictions are scored."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any, Literal

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error
from transformers import EvalPrediction, PreTrainedConfig, PreTrainedTokenizerBase

from ..modeling_wave import IGNORE_INDEX
from .arguments import DataArguments
from .data import check_columns, length_options, map_options
from .errors import exit_on_error

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
# Maps predictions and references, each `(N,)` or `(N, num_labels)`, to named values.
Metric = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass
class Task:
    """A task: the problem type, as in the config, and the label names in the order of their ids."""

    problem_type: ProblemType
    label_names: list[str]

    @classmethod
    def of_config(cls, config: PreTrainedConfig) -> "Task":
        """Return the task of a checkpoint."""
        default: ProblemType = "regression" if config.num_labels == 1 else "single_label_classification"
        id2label: dict[Any, str] = config.id2label or {}
        return cls(config.problem_type or default, [id2label[i] for i in range(len(id2label))])

    def write_to(self, config: PreTrainedConfig) -> None:
        """Set the fields of the config that define the task."""
        config.problem_type = self.problem_type
        config.id2label = dict(enumerate(self.label_names))
        config.label2id = {name: i for i, name in enumerate(self.label_names)}

    @property
    def label_feature(self) -> Value | List:
        """The type of the label column: a value, a name, or names."""
        name = Value("string")
        return {"regression": Value("float32"), "multi_label_classification": List(name)}.get(self.problem_type, name)

    @property
    def stratify_column(self) -> str | None:
        """The label column, if it holds one class per row."""
        return "label" if self.problem_type == "single_label_classification" else None

    def encode(self, label: Any) -> Any:
        """Return the target of the loss for a value, a name (or `None` if it is missing), or a list of names."""
        if self.problem_type == "regression":
            return label
        if self.problem_type == "multi_label_classification":
            return [float(name in label) for name in self.label_names]
        return IGNORE_INDEX if label is None else self.label_names.index(label)

    def decode(self, prediction: Any) -> str:
        """Return a predicted value with three decimals, a name, or names separated by commas."""
        if self.problem_type == "regression":
            return f"{prediction:.3f}"
        if self.problem_type == "multi_label_classification":
            return ",".join(compress(self.label_names, prediction))
        return self.label_names[prediction]

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return values `(N,)`, class ids `(N,)`, or 0 and 1 for each label `(N, num_labels)`."""
        if self.problem_type == "regression":
            return logits.reshape(-1)
        if self.problem_type == "multi_label_classification":
            return (logits > 0).astype(int)
        return logits.argmax(-1)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of each label `(N, num_labels)`."""
        return expit(logits) if self.problem_type == "multi_label_classification" else softmax(logits, axis=-1)

    def default_metrics(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Return mean squared error, micro-averaged F1, or accuracy."""
        if self.problem_type == "regression":
            return {"mse": mean_squared_error(references, predictions)}
        if self.problem_type == "multi_label_classification":
            return {"f1": f1_score(references, predictions, average="micro", zero_division=0)}
        return {"accuracy": accuracy_score(references, predictions)}


# Finding the task


def infer_task(
    config: PreTrainedConfig, splits: Mapping[str, Dataset], label_column: str, is_regression: bool | None = None
) -> Task:
    """Infer the task from the training labels or, without training rows, from the checkpoint.

    Args:
        config: Config of the checkpoint, whose order of labels is kept if the labels are the same.
        splits: The splits of this run.
        label_column: Names or numbers of classes, lists of them (several labels a text), or floats (regression).
        is_regression: Whether to train a regression; `None` means that floats decide.

    Raises:
        SystemExit: There are fewer than two classes.
    """
    checkpoint_task = Task.of_config(config)
    if "train" not in splits:
        return checkpoint_task
    feature = splits["train"].features[label_column]
    if is_regression is None:
        is_regression = isinstance(feature, Value) and feature.dtype in ("float32", "float64")
    if is_regression:
        return Task("regression", ["LABEL_0"])
    names = _label_names(splits["train"], label_column)
    if len(names) < 2:
        raise SystemExit(f"Classification needs two labels, but the training data has {', '.join(names) or 'none'}")
    if set(names) == set(checkpoint_task.label_names):
        names = checkpoint_task.label_names
    return Task("multi_label_classification" if isinstance(feature, List) else "single_label_classification", names)


def _label_names(rows: Dataset, column: str) -> list[str]:
    """Return the names of a ClassLabel, or the distinct values, sorted."""
    feature = rows.features[column]
    if isinstance(feature, List):
        feature = feature.feature
    if isinstance(feature, ClassLabel):
        return feature.names
    return [str(label) for label in sorted(_distinct_labels(rows, column) - {None})]


def _distinct_labels(rows: Dataset, column: str) -> set[Any]:
    if isinstance(rows.features[column], List):
        return set(chain.from_iterable(labels or [] for labels in rows[column]))
    return set(rows.unique(column))


# Reading rows


def read_rows(
    splits: Mapping[str, Dataset],
    task: Task,
    text_columns: Callable[[Dataset, str], dict[str, list[str]]],
    label_column: str,
    delimiter: str = " ",
) -> DatasetDict:
    """Reduce all splits to their text, or text and text_pair, and their label: a name, names or a value.

    Args:
        splits: Rows with any columns.
        task: The task of the labels.
        text_columns: Maps rows and the name of their split to the columns that make the `text` and, in a task of
            pairs, the `text_pair`.
        label_column: The column of labels, which rows to predict may lack.
        delimiter: String between joined columns.

    Raises:
        SystemExit: A column is missing, or a value cannot be read.
    """
    read = DatasetDict()
    for split, rows in splits.items():
        read[split] = _read_split(rows, split, task, text_columns(rows, split), label_column, delimiter)
    return read


def _read_split(
    rows: Dataset, split: str, task: Task, text_columns: dict[str, list[str]], label_column: str, delimiter: str
) -> Dataset:
    columns = rows.column_names
    check_columns(split, chain.from_iterable(text_columns.values()), columns)
    label_feature = rows.features.get(label_column)
    features = Features(dict.fromkeys(text_columns, Value("string")))
    if label_feature is not None:
        features["label"] = task.label_feature

    def read(batch: dict[str, list]) -> dict[str, list]:
        result = {}
        for text, parts in text_columns.items():
            joined = zip(*(batch[column] for column in parts), strict=True)
            result[text] = [join_texts(texts, delimiter) for texts in joined]
        if label_feature is not None:
            result["label"] = [read_label(label, label_feature, task) for label in batch[label_column]]
        return result

    with exit_on_error(f"The {split} data"):
        return rows.map(read, batched=True, remove_columns=columns, features=features, desc=f"Reading {split} rows")


def join_texts(parts: Iterable[Any], delimiter: str) -> str:
    """Join the texts of a row; a missing one counts as empty."""
    return delimiter.join("" if part is None else str(part) for part in parts)


def read_label(label: Any, feature: Any, task: Task) -> Any:
    """Return the label as its name or value; `None` if it is missing, or hidden (-1) as in test data on the Hub."""
    if isinstance(feature, List):
        return [read_label(item, feature.feature, task) for item in label or []]
    if label is None or (isinstance(feature, ClassLabel) and label < 0):
        return None
    if task.problem_type == "regression":
        return float(label)
    return feature.int2str(label) if isinstance(feature, ClassLabel) else str(label)


def check_labels(splits: Mapping[str, Dataset], task: Task) -> None:
    """Refuse rows without a label, except those to predict, and labels that the model has no output for."""
    for split, rows in splits.items():
        labels = _distinct_labels(rows, "label") if "label" in rows.column_names else set()
        if None in labels and not split.startswith("test"):
            raise SystemExit(f"The {split} data has rows without a label")
        unknown = labels - {None, *task.label_names}
        if unknown and task.problem_type != "regression":
            raise SystemExit(f"The {split} data has labels the model is not trained for: {', '.join(sorted(unknown))}")


def text_columns(rows: Dataset) -> list[str]:
    """Return `text` and, in rows of pairs, `text_pair`."""
    return [name for name in ("text", "text_pair") if name in rows.column_names]


def training_texts(splits: Mapping[str, Dataset]) -> Iterable[str]:
    """Return the texts that a tokenizer is trained on."""
    train = splits.get("train")
    return () if train is None else chain(*(train[name] for name in text_columns(train)))


def tokenize(
    splits: Mapping[str, Dataset],
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    task: Task,
    data_args: DataArguments,
) -> dict[str, Dataset]:
    """Turn texts or pairs of texts into token ids, and labels into targets of the loss."""
    options = length_options(tokenizer, config, data_args)

    def encode(batch: dict[str, list]) -> dict[str, Any]:
        encoded = tokenizer(batch["text"], batch.get("text_pair"), **options)
        labels = {"labels": [task.encode(label) for label in batch["label"]]} if "label" in batch else {}
        return {**encoded, **labels}

    return {split: rows.map(encode, **map_options(rows, data_args)) for split, rows in splits.items()}


# Scoring predictions


def score(task: Task, compute: Metric, logits: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the metrics and, if there are several, their mean as `combined_score`."""
    metrics = {name: float(value) for name, value in compute(task.predictions(logits), references).items()}
    if len(metrics) > 1:
        metrics["combined_score"] = float(np.mean(list(metrics.values())))
    return metrics


def make_compute_metrics(task: Task, compute: Metric) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return `score` as Trainer's `compute_metrics`."""
    return lambda output: score(task, compute, output.predictions, output.label_ids)  # type: ignore[arg-type]
