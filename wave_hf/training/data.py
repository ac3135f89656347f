# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading rows: from files, the Hub or the documentation corpus to the splits of a run."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from accelerate.utils import gather_object
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

from ..documentation_corpus import load_documentation_corpus
from .arguments import DataArguments, ModelArguments
from .errors import exit_all_ranks, exit_on_error
from .readers import read_dataset, read_table

# Splits that a run predicts, whose labels are hidden or ignored.
PREDICTED_SPLITS = ("test", "test_mm")

logger = logging.getLogger(__name__)


def load_splits(
    model_args: ModelArguments,
    data_args: DataArguments,
    needed: set[str],
    load_default: Callable[[], DatasetDict] = load_documentation_corpus,
) -> DatasetDict:
    """Load the splits that a run needs, without the columns to ignore.

    Args:
        model_args: Options of the cache and the Hub.
        data_args: Which dataset, files, splits and columns.
        needed: The splits that the run needs, of `"train"`, `"validation"` and `"test"`.
        load_default: Loads the data of a run that names none.

    Returns:
        The splits, see `select_splits`.

    Raises:
        SystemExit: The data cannot be read, or a split or column is missing.
    """
    raw = load_raw_datasets(model_args, data_args, load_default)
    splits = select_splits(raw, data_args.split_names(raw), needed, data_args.label_column_name)
    removed = (data_args.remove_columns or "").split(",")
    for split, rows in splits.items():
        splits[split] = rows.remove_columns([column for column in rows.column_names if column in removed])
    return splits


def load_raw_datasets(
    model_args: ModelArguments,
    data_args: DataArguments,
    load_default: Callable[[], DatasetDict] = load_documentation_corpus,
    streaming: bool = False,
) -> DatasetDict | IterableDatasetDict:
    """Load all splits of the dataset or the files, as streams if asked for, or else the default data."""
    check_limits(data_args)
    if data_args.dataset_name:
        with exit_on_error(data_args.dataset_name):
            return read_dataset(
                data_args.dataset_name,
                data_args.dataset_config_name,
                streaming,
                cache_dir=model_args.cache_dir,
                token=model_args.token,
            )
    if not data_args.files:
        logger.info("No data is named: using the documentation corpus")
        return load_default()
    # One by one: rows to predict may lack columns of the training rows.
    files = {split: load_file(file, model_args.cache_dir, streaming) for split, file in data_args.files.items()}
    return IterableDatasetDict(files) if streaming else DatasetDict(files)


def load_file(file: str, cache_dir: str | None = None, streaming: bool = False) -> Any:
    """Load the rows of a csv, json or txt file as they are, see `readers`.

    Args:
        file: Its name; the ending names the format.
        cache_dir: Where to cache the processed file. `None`: the cache of the datasets library.
        streaming: Whether to return an `IterableDataset` that reads the file on the fly.

    Returns:
        A `Dataset` or `IterableDataset` with the columns of the file. In csv and txt files all of them are texts.

    Raises:
        SystemExit: The file cannot be read, or holds no rows.
    """
    with exit_on_error(file):
        return read_table(file, cache_dir=cache_dir, streaming=streaming)


def check_limits(data_args: DataArguments) -> None:
    """Refuse to limit a split to no rows."""
    options = {"train": "--max_train_samples", "validation": "--max_eval_samples", "test": "--max_predict_samples"}
    for split, limit in data_args.limits.items():
        if limit is not None and limit < 1:
            raise SystemExit(f"{options[split]} is {limit}, but should be at least 1")


def select_splits(raw: DatasetDict, names: dict[str, str], needed: set[str], label_column: str) -> DatasetDict:
    """Return the splits that a run needs, called train, validation and test.

    Args:
        raw: The data as they were found.
        names: Name of each split in `raw`. A second kind of validation or test rows is called like `validation_mm`.
        needed: The splits that are needed. Without validation rows, the training rows stand in, to be held out later.
        label_column: The column that all of them must have, except rows to predict.

    Raises:
        SystemExit: A split or the column is missing.
    """
    found = {split: raw[name] for split, name in names.items() if name in raw}
    if "validation" not in found and "train" in found:
        needed = {"train" if split == "validation" else split for split in needed}
    for split in sorted(needed - found.keys()):
        raise SystemExit(f"This run needs {split} data, but there is only: {', '.join(found) or 'none'}")
    selected = DatasetDict({split: rows for split, rows in found.items() if split.split("_")[0] in needed})
    for split, rows in selected.items():
        if split not in PREDICTED_SPLITS:
            check_columns(split, [label_column], column_names(rows))
        if isinstance(rows, Dataset) and not len(rows):
            raise SystemExit(f"The {split} data has no rows")
    return selected


def column_names(rows: Dataset | IterableDataset) -> list[str]:
    """Return the columns, which a stream may reveal only in its first row."""
    return rows.column_names or list(next(iter(rows), {}))


def check_columns(split: str, wanted: Iterable[str], columns: list[str]) -> None:
    """Refuse data that lacks a column, and list the columns that it has."""
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise SystemExit(f"The {split} data has no column {missing[0]}, but {', '.join(columns)}")


def hold_out_and_limit(
    splits: Mapping[str, Dataset],
    data_args: DataArguments,
    needed: set[str],
    seed: int,
    stratify_column: str | None = None,
) -> dict[str, Dataset]:
    """Hold out validation rows if there are none, and limit the number of rows.

    Args:
        splits: The rows of each split.
        data_args: The percentage to hold out, and the limits.
        needed: The splits to return.
        seed: Seed of the choice of held-out rows.
        stratify_column: Column of classes that keep their share in the held-out rows.

    Returns:
        The needed splits. Those to predict have no `label` column, because their labels may be hidden.
    """
    chosen = dict(splits)
    if "validation" in needed - chosen.keys():
        classes = chosen["train"][stratify_column] if stratify_column else None
        chosen |= hold_out_rows(chosen["train"], data_args.validation_split_percentage, seed, classes)
    for split, rows in chosen.items():
        if split in PREDICTED_SPLITS and "label" in rows.column_names:
            rows = rows.remove_columns("label")
        limit = data_args.limits[split.split("_")[0]]
        chosen[split] = rows.take(min(len(rows), limit or len(rows)))
    return {split: rows for split, rows in chosen.items() if split.split("_")[0] in needed}


def hold_out_rows(dataset: Dataset, percentage: int, seed: int, classes: Iterable[str] | None) -> DatasetDict:
    """Split off validation rows, stratified by class if every class has enough rows."""
    from sklearn.model_selection import train_test_split  # here, so that reading rows needs no scikit-learn

    rows = np.arange(len(dataset))
    options = {"test_size": percentage / 100, "random_state": seed}
    try:
        train, validation = train_test_split(rows, stratify=classes, **options)
    except ValueError:
        with exit_on_error("Holding out validation rows"):
            train, validation = train_test_split(rows, **options)
    logger.info(f"No validation rows: evaluating on {len(validation)} of the {len(rows)} training rows, held out")
    return DatasetDict(train=dataset.select(sorted(train)), validation=dataset.select(sorted(validation)))


def check_same_rows(splits: Mapping[str, Dataset | IterableDataset]) -> None:
    """Refuse to train on several processes that hold different rows; streams are not compared."""
    digests: dict[str, list[str]] = {}
    for split, rows in splits.items():
        if isinstance(rows, Dataset):
            table = rows.with_format("arrow")[:]
            parts = chain(*(_flat_parts(table[name].combine_chunks()) for name in sorted(rows.column_names)))
            digests[split] = [
                hashlib.sha256(part.to_numpy(zero_copy_only=False).tobytes()).hexdigest() for part in parts
            ]
    of_all_processes = gather_object([digests])
    with exit_all_ranks():
        for split, digest in digests.items():
            if any(other.get(split) != digest for other in of_all_processes):
                raise SystemExit(f"The processes of this run have different {split} data")


def _flat_parts(column: pa.Array) -> Iterator[pa.Array]:
    """Yield the lengths of the lists of a column, level by level, and its numbers."""
    while pa.types.is_list(column.type):
        yield column.value_lengths()
        column = column.flatten()
    yield column
