# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Rows of texts and labels: from columns of any data to what a model is trained on."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from datasets import Dataset, DatasetDict, Features, IterableDataset, Value
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from .arguments import DataArguments
from .data import PREDICTED_SPLITS, check_columns
from .errors import exit_on_error
from .labels import make_label_reader
from .readers import read_cells, text_or_empty
from .tasks import Task
from .tokenizing import length_options, map_options


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
    used = list(dict.fromkeys(chain.from_iterable(text_columns.values())))
    check_columns(split, used, rows.column_names)
    features = Features(dict.fromkeys(text_columns, Value("string")))
    has_labels = label_column in rows.column_names and split not in PREDICTED_SPLITS
    if has_labels:
        features["label"] = task.label_feature
    rows = rows.select_columns(list(dict.fromkeys([*used, label_column] if has_labels else used)))

    with exit_on_error(f"The {split} data"):
        label_reader = make_label_reader(rows, label_column, task) if has_labels else None

        def read(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
            texts = {column: read_cells(text_or_empty, batch[column], indices, column) for column in used}
            result: dict[str, list] = {
                text: [delimiter.join(parts) for parts in zip(*(texts[column] for column in columns), strict=True)]
                for text, columns in text_columns.items()
            }
            if label_reader:
                result["label"] = read_cells(label_reader, batch[label_column], indices, label_column)
            return result

        return rows.map(
            read,
            batched=True,
            with_indices=True,
            remove_columns=rows.column_names,
            features=features,
            desc=f"Reading {split} rows",
        )


def check_labels(splits: Mapping[str, Dataset], task: Task) -> None:
    """Refuse rows without a label, and labels that the model has no output for, except in rows to predict."""
    option = "" if "train" in splits else " (--do_train with --ignore_mismatched_sizes trains it for other labels)"
    known = set(task.label_names)
    for split, rows in splits.items():
        if split in PREDICTED_SPLITS or "label" not in rows.column_names:
            continue
        for row, label in enumerate(rows["label"]):
            for name in label if isinstance(label, list) else [label]:
                if name is None:
                    raise SystemExit(f"Row {row} of the {split} data has no label")
                if task.problem_type != "regression" and name not in known:
                    names = ", ".join(task.label_names)
                    raise SystemExit(f"The label {name!r} in row {row} of the {split} data is none of {names}{option}")


def read_text_column(rows: Dataset | IterableDataset, split: str, column: str) -> Dataset | IterableDataset:
    """Reduce rows, or a stream of them, to the texts of a column, as `text`.

    Raises:
        SystemExit: A value is no text; in a stream, when it is read.
    """

    def read(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        with exit_on_error(f"The {split} data"):
            return {"text": read_cells(text_or_empty, batch[column], indices, column)}

    features = Features({"text": Value("string")})
    rows = rows.select_columns(column)
    return rows.map(read, batched=True, with_indices=True, remove_columns=column, features=features)


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
    options = length_options(tokenizer, config, data_args, is_training="train" in splits)

    def encode(batch: dict[str, list]) -> dict[str, Any]:
        encoded = tokenizer(batch["text"], batch.get("text_pair"), **options)
        labels = {"labels": [task.encode(label) for label in batch["label"]]} if "label" in batch else {}
        return {**encoded, **labels}

    return {split: rows.map(encode, **map_options(rows, data_args)) for split, rows in splits.items()}
