# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""From files, the Hub or the documentation corpus to rows of text, or text and text_pair, and label."""

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from common import DataArguments, ModelArguments, Task, exit_on_error
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    List,
    Value,
    load_dataset,
)
from sklearn.model_selection import train_test_split
from transformers import PreTrainedConfig

from wave_hf.documentation_corpus import load_documentation_corpus

logger = logging.getLogger("examples.rows")


def load_raw_datasets(
    data_args: DataArguments,
    model_args: ModelArguments,
    load_embedded: Callable[[], DatasetDict] = load_documentation_corpus,
    streaming: bool = False,
) -> DatasetDict | IterableDatasetDict:
    """Load the splits of the dataset, the files, or the documentation corpus; streams if asked for."""
    if data_args.dataset_name:
        with exit_on_error(data_args.dataset_name):
            return load_dataset(
                data_args.dataset_name,
                data_args.dataset_config_name,
                cache_dir=model_args.cache_dir,
                token=model_args.token,
                streaming=streaming,
            )
    if not data_args.files:
        logger.info("No data is named: using the documentation corpus")
        return load_embedded()
    # One by one: rows to predict may lack columns of the training rows.
    files = {split: load_file(file, model_args.cache_dir, streaming) for split, file in data_args.files.items()}
    return IterableDatasetDict(files) if streaming else DatasetDict(files)


def load_file(file: str, cache_dir: str | None, streaming: bool = False) -> Any:
    """Load the rows of a csv, json or txt file, as a stream if asked for."""
    file_format = Path(file).suffix[1:].replace("txt", "text")
    # Only an empty cell is missing: "NA" or "None" may be a text or a label.
    options: dict[str, Any] = {"keep_default_na": False, "na_values": [""]} if file_format == "csv" else {}
    options |= {"cache_dir": cache_dir, "streaming": streaming}
    with exit_on_error(file):
        return load_dataset(file_format, data_files=file, split="train", **options)


def select_splits(raw: DatasetDict, names: dict[str, str], needed: set[str], label_column: str) -> DatasetDict:
    """Return the splits a run needs, called train, validation and test.

    Args:
        raw: The data as they were found.
        names: Name of each split in `raw`. A second kind of validation or test rows is called like `validation_mm`.
        needed: The splits that are needed. Without validation rows, those to train on stand in, to be held out.
        label_column: What all of them must have, except rows to predict.
    """
    found = {split: raw[name] for split, name in names.items() if name in raw}
    if "validation" not in found and "train" in found:
        needed = {"train" if split == "validation" else split for split in needed}
    for split in sorted(needed - found.keys()):
        raise SystemExit(f"This run needs {split} data, but there is only: {', '.join(found) or 'none'}")
    selected = DatasetDict({split: rows for split, rows in found.items() if split.split("_")[0] in needed})
    for split, rows in selected.items():
        if not split.startswith("test"):
            check_columns(split, [label_column], column_names(rows))
    return selected


def column_names(rows: Dataset | IterableDataset) -> list[str]:
    """Return the columns; those of a stream may be known by its first row alone."""
    return rows.column_names or list(next(iter(rows), {}))


def check_columns(split: str, wanted: Iterable[str], columns: list[str]) -> None:
    """Refuse data that lacks a column, and tell the columns there are."""
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise SystemExit(f"The {split} data has no column {missing[0]}, but {', '.join(columns)}")


def infer_task(
    config: PreTrainedConfig, raw: DatasetDict, label_column: str, is_regression: bool | None = None
) -> Task:
    """Tell the task by the training rows; without them it is the checkpoint's.

    Args:
        config: The checkpoint's, whose order of labels is kept if they are the same.
        raw: The splits of this run.
        label_column: Names or numbers of classes, lists of them (several labels a text), or floats (regression).
        is_regression: None: if the labels are floats.
    """
    checkpoint_task = Task.of_config(config)
    if "train" not in raw:
        return checkpoint_task
    feature = raw["train"].features[label_column]
    if is_regression is None:
        is_regression = isinstance(feature, Value) and feature.dtype in ("float32", "float64")
    if is_regression:
        return Task("regression", ["LABEL_0"])
    names = _label_names(raw["train"], label_column)
    if len(names) < 2:
        raise SystemExit(f"Classification needs two labels, but the training data has {', '.join(names) or 'none'}")
    if set(names) == set(checkpoint_task.label_names):
        names = checkpoint_task.label_names
    return Task("multi_label_classification" if isinstance(feature, List) else "single_label_classification", names)


def _label_names(rows: Dataset, column: str) -> list[str]:
    """Return the names of a ClassLabel, or the values in their order."""
    feature = rows.features[column]
    if isinstance(feature, List):
        feature = feature.feature
    if isinstance(feature, ClassLabel):
        return feature.names
    return [str(label) for label in sorted(_distinct_labels(rows, column) - {None})]


def _distinct_labels(rows: Dataset, column: str) -> set[Any]:
    """Return the labels that occur."""
    if isinstance(rows.features[column], List):
        return set(chain.from_iterable(labels or [] for labels in rows[column]))
    return set(rows.unique(column))


def read_rows(
    rows: Dataset, split: str, task: Task, text_columns: dict[str, list[str]], label_column: str, delimiter: str = " "
) -> Dataset:
    """Reduce rows to their text, or text and text_pair, and their label, if they have one: a name, names or a value.

    Args:
        rows: Rows with any columns.
        split: Its name, for messages.
        task: What the labels are.
        text_columns: The columns that make the text and, in a task of pairs, the text_pair.
        label_column: Its column of labels.
        delimiter: Stands between joined columns.
    """
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
    """Join the texts of a row; one that is missing counts as empty."""
    return delimiter.join("" if part is None else str(part) for part in parts)


def read_label(label: Any, feature: Any, task: Task) -> Any:
    """Return the label as its name or value; None if it is missing, or hidden (-1) as in test data of the Hub."""
    if isinstance(feature, List):
        return [read_label(item, feature.feature, task) for item in label or []]
    if label is None or (isinstance(feature, ClassLabel) and label < 0):
        return None
    if task.problem_type == "regression":
        return float(label)
    return feature.int2str(label) if isinstance(feature, ClassLabel) else str(label)


def check_labels(splits: dict[str, Dataset], task: Task) -> None:
    """Refuse rows without a label, except those to predict, and labels that the model has no output for."""
    for split, rows in splits.items():
        labels = _distinct_labels(rows, "label") if "label" in rows.column_names else set()
        if None in labels and not split.startswith("test"):
            raise SystemExit(f"The {split} data has rows without a label")
        unknown = labels - {None, *task.label_names}
        if unknown and task.problem_type != "regression":
            raise SystemExit(f"The {split} data has labels the model is not trained for: {', '.join(sorted(unknown))}")


def hold_out_and_limit(
    splits: Mapping[str, Dataset], task: Task | None, data_args: DataArguments, needed: set[str], seed: int
) -> dict[str, Dataset]:
    """Hold out validation rows if there are none, and take the first rows up to the limits.

    Classes keep their share if the task has one label a row.
    """
    chosen = dict(splits)
    if "validation" in needed - chosen.keys():
        is_of_classes = task is not None and task.problem_type == "single_label_classification"
        classes = chosen["train"]["label"] if is_of_classes else None
        chosen |= hold_out_rows(chosen["train"], data_args.validation_split_percentage, seed, classes)
    limits = {
        "train": data_args.max_train_samples,
        "validation": data_args.max_eval_samples,
        "test": data_args.max_predict_samples,
    }
    for split, rows in chosen.items():
        if split.startswith("test") and "label" in rows.column_names:
            rows = rows.remove_columns("label")  # labels may be hidden, and predicting needs none
        chosen[split] = rows.take(min(len(rows), limits[split.split("_")[0]] or len(rows)))
    return {split: rows for split, rows in chosen.items() if split.split("_")[0] in needed}


def hold_out_rows(dataset: Dataset, percentage: int, seed: int, classes: Iterable[str] | None) -> DatasetDict:
    """Split off validation rows, with the same share of every class if all classes have the rows for it."""
    rows = np.arange(len(dataset))
    options = {"test_size": percentage / 100, "random_state": seed}
    try:
        train, validation = train_test_split(rows, stratify=classes, **options)
    except ValueError:
        with exit_on_error("Holding out validation rows"):
            train, validation = train_test_split(rows, **options)
    logger.info(f"No validation rows: evaluating on {len(validation)} of the {len(rows)} training rows, held out")
    return DatasetDict(train=dataset.select(sorted(train)), validation=dataset.select(sorted(validation)))
