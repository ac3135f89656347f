# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Tagging of words, for `run_ner.py`: the options, the rows, tags of words as labels of tokens, and the metrics."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, LargeList, List, Value
from seqeval.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score
from transformers import EvalPrediction, PreTrainedConfig, PreTrainedTokenizerBase

from ..files import writing
from ..modeling_wave import IGNORE_INDEX
from .arguments import DataArguments
from .data import check_columns, hold_out_and_limit, select_splits
from .json_reader import as_value
from .labels import read_label
from .readers import text_or_empty
from .tasks import Task
from .tokenizing import length_options, map_options

OUTSIDE = "O"  # the tag of words that belong to no entity

logger = logging.getLogger(__name__)


@dataclass
class NerArguments(DataArguments):
    """Which columns are read, and which metrics are reported."""

    task_name: str = field(
        default="ner", metadata={"help": "Name of the task; the column of tags is called TASK_NAME_tags."}
    )
    text_column_name: str | None = field(
        default=None, metadata={"help": "Column of words, in lists. None: tokens, or the first column."}
    )
    label_column_name: str | None = field(  # type: ignore[assignment, misc]
        default=None, metadata={"help": "Column of tags, in lists. None: TASK_NAME_tags, or the last column."}
    )
    return_entity_level_metrics: bool = field(
        default=False, metadata={"help": "Also report the metrics of each type of entity."}
    )

    def choose_columns(self, columns: list[str]) -> tuple[str, str]:
        """Return the columns of words and of tags."""
        tags = f"{self.task_name}_tags"
        text_column = self.text_column_name or ("tokens" if "tokens" in columns else columns[0])
        return text_column, self.label_column_name or (tags if tags in columns else columns[-1])


# Reading


def select_tagged_splits(raw: Mapping[str, Dataset], data_args: NerArguments, needed: set[str]) -> dict[str, Dataset]:
    """Return the splits that a run needs, with the columns `tokens` and, except in rows to predict, `tags`.

    Raises:
        SystemExit: A split or a column is missing, or a column does not hold lists.
    """
    text_column, label_column = data_args.choose_columns(next(iter(raw.values())).column_names)
    splits = select_splits(raw, {split: split for split in ("train", "validation", "test")}, needed, label_column)
    selected = {}
    for split, rows in splits.items():
        if split != "test" and label_column == text_column:
            raise SystemExit(f"The {split} data has no column of tags, but only {text_column}")
        columns = {text_column: "tokens"} if split == "test" else {text_column: "tokens", label_column: "tags"}
        check_columns(split, columns, rows.column_names)
        for column in columns:
            check_lists(rows, split, column)
        renamed = {old: new for old, new in columns.items() if old != new}
        selected[split] = rows.select_columns(list(columns)).rename_columns(renamed)
    return selected


def check_lists(rows: Dataset, split: str, column: str) -> None:
    """Raise SystemExit unless a column holds lists of words or tags."""
    feature = rows.features[column]
    if isinstance(feature, List | LargeList) and isinstance(feature.feature, Value | ClassLabel):
        return
    values = list(map(as_value, rows[column]))
    if any(isinstance(value, list) for value in values):
        for index, value in enumerate(values):
            if value is not None and not isinstance(value, list):
                raise SystemExit(f"Row {index} of the {split} data has the {column} {short_repr(value)}, not a list")
    raise SystemExit(f"The column {column} of the {split} data holds {feature}, but not lists of words")


def read_tagged_rows(
    splits: Mapping[str, Dataset], task: Task, data_args: NerArguments, needed: set[str], seed: int
) -> dict[str, Dataset]:
    """Read words and the names of their tags, hold out validation rows if there are none, and limit their number.

    Returns:
        The needed splits with the columns `tokens` and, except in rows to predict, `label`.

    Raises:
        SystemExit: A row has more or fewer tags than words, or a tag that the model has no output for.
    """
    read = {split: _read_split(rows, split, task) for split, rows in splits.items()}
    return hold_out_and_limit(read, data_args, needed, seed)


def _read_split(rows: Dataset, split: str, task: Task) -> Dataset:
    words = List(Value("string"))
    has_tags = "tags" in rows.column_names

    def read(row: dict[str, Any], index: int) -> dict[str, list]:
        tokens = [text_or_empty(token) for token in row["tokens"] or []]
        if not has_tags:
            return {"tokens": tokens}
        tags = read_label(row["tags"], rows.features["tags"]) or []
        if len(tags) != len(tokens):
            raise SystemExit(f"Row {index} of the {split} data has {len(tokens)} words, but {len(tags)} tags")
        for tag in tags:
            if tag not in task.label_names:
                known = ", ".join(task.label_names)
                raise SystemExit(f"Row {index} of the {split} data has the tag {tag}, but the tags are {known}")
        return {"tokens": tokens, "label": tags}

    features = Features({"tokens": words, "label": words} if has_tags else {"tokens": words})
    options = {"with_indices": True, "remove_columns": rows.column_names, "features": features}
    return rows.map(read, desc=f"Reading {split} rows", **options)


def training_texts(rows: Mapping[str, Dataset]) -> Iterable[str]:
    """Return the texts that a tokenizer is trained on."""
    return map(" ".join, rows["train"]["tokens"]) if "train" in rows else ()


# From words to tokens and back


def tokenize_words(
    rows: Mapping[str, Dataset],
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    task: Task,
    data_args: NerArguments,
) -> dict[str, Dataset]:
    """Tokenize words; the first token of each word has its tag as the label.

    Returns:
        Token ids and labels of each split, and `word_ids`: the index of each token's word, None for special tokens.
    """
    options = length_options(tokenizer, config, data_args, is_training="train" in rows)

    def encode(batch: dict[str, list]) -> dict[str, Any]:
        encoded = tokenizer(batch["tokens"], is_split_into_words=True, **options)
        word_ids = [encoded.word_ids(row) for row in range(len(batch["tokens"]))]
        columns = {**encoded, "word_ids": word_ids}
        if "label" in batch:
            columns["labels"] = [
                _token_labels(words, tags, task) for words, tags in zip(word_ids, batch["label"], strict=True)
            ]
        return columns

    return {split: of_split.map(encode, **map_options(of_split, data_args)) for split, of_split in rows.items()}


def _token_labels(word_ids: list[int | None], tags: list[str], task: Task) -> list[int]:
    labels = [IGNORE_INDEX] * len(word_ids)
    for word, token in first_tokens(word_ids).items():
        labels[token] = task.encode(tags[word])
    return labels


def first_tokens(word_ids: list[int | None]) -> dict[int, int]:
    """Return the index of the first token of each word that has tokens, given the word of each token."""
    starts = enumerate(pairwise([None, *word_ids]))
    return {word: token for token, (before, word) in starts if word is not None and word != before}


def write_tags(rows: Dataset, tokenized: Dataset, predictions: np.ndarray, task: Task, file: Path) -> None:
    """Write a line for each row, with one tag for each word.

    A word has no prediction if the tokenizer drops it, such as a control character, or if it lies beyond
    `max_seq_length`. It gets the tag `O` or, if there is no such tag, the most frequent of all predictions.

    Args:
        rows: Words.
        tokenized: Their tokens, see `tokenize_words`.
        predictions: The class of each token, `(N, T)`.
        task: The tags.
        file: The file to write.
    """
    tags_of_rows = [
        {word: task.decode(labels[token]) for word, token in first_tokens(word_ids).items()}
        for word_ids, labels in zip(tokenized["word_ids"], predictions, strict=True)
    ]
    counts = Counter(chain.from_iterable(tags.values() for tags in tags_of_rows))
    default = OUTSIDE if OUTSIDE in task.label_names or not counts else counts.most_common(1)[0][0]
    total = sum(map(len, rows["tokens"]))
    if counts.total() < total:
        logger.warning(
            f"{total - counts.total()} of {total} words get the tag {default} without a prediction: they lie beyond "
            "--max_seq_length, or the tokenizer drops them"
        )
    with writing(file) as stream:
        for tokens, tags in zip(rows["tokens"], tags_of_rows, strict=True):
            print(*(tags.get(word, default) for word in range(len(tokens))), file=stream)


# Scoring


def score_tags(output: EvalPrediction, names: list[str], has_entity_levels: bool) -> dict[str, float]:
    """Return the accuracy and, if the tags mark entities (B-, I-, O), their precision, recall and F1.

    Args:
        output: Classes and labels of tokens, each `(N, T)`.
        names: Names of the classes.
        has_entity_levels: Whether to return the metrics of each type of entity, too.
    """
    references, predictions = [], []
    for labels, predicted in zip(output.label_ids, output.predictions, strict=True):
        is_labelled = labels != IGNORE_INDEX
        references.append([names[label] for label in labels[is_labelled]])
        predictions.append([names[label] for label in predicted[is_labelled]])
    metrics = {"accuracy": accuracy_score(references, predictions)}
    if any(name.startswith(("B-", "I-")) for name in names):
        pair = (references, predictions)
        metrics |= {"precision": precision_score(*pair), "recall": recall_score(*pair), "f1": f1_score(*pair)}
        if has_entity_levels:
            types = classification_report(*pair, output_dict=True)
            metrics |= {f"{kind}_{name}": value for kind, of_kind in types.items() for name, value in of_kind.items()}
    return {name: float(value) for name, value in metrics.items()}
