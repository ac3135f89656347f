# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading files of rows as they are: no cell or string becomes a number, a date or a missing value."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from datasets import (
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    Value,
    load_dataset,
    load_dataset_builder,
)
from datasets.exceptions import DatasetsError
from datasets.packaged_modules.csv.csv import Csv
from datasets.packaged_modules.json.json import Json

from ..documentation_corpus import load_documentation_corpus
from .json_reader import as_text, read_json

# Only an empty cell is missing: "NA" or "None" may be a text or a label.
CSV_OPTIONS: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}


def read_file(
    file: str, text_columns: Iterable[str], label_column: str | None = None, optional: Collection[str] = ()
) -> Dataset:
    """Read texts, and perhaps labels, of a csv or json file, by the rules of the training scripts.

    A missing text is an empty one; a missing label is an error. Other columns are ignored.

    Args:
        file: Name of the file; the ending names the format.
        text_columns: Columns of texts.
        label_column: Column of labels, which are read as texts. `None`: no labels are read.
        optional: Columns that the file may lack.

    Returns:
        Those of the columns that the file has, all of texts.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is neither a csv nor a json file, cannot be read, or lacks a column or a label.
    """
    if Path(file).suffix not in (".csv", ".json"):
        raise ValueError(f"{file} is neither a .csv nor a .json file.")
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file} does not exist.")
    try:
        rows = read_table(file)
        columns = [*text_columns, *([label_column] if label_column else [])]
        for column in columns:
            if column not in rows.column_names and column not in optional:
                raise ValueError(f"there is no column {column}, but {', '.join(rows.column_names)}")
        rows = rows.select_columns([column for column in columns if column in rows.column_names])
        return rows.map(
            _read_columns,
            batched=True,
            with_indices=True,
            fn_kwargs={"label_column": label_column},
            features=Features(dict.fromkeys(rows.column_names, Value("string"))),
        )
    except (DatasetsError, ValueError) as error:
        reason = (isinstance(error, DatasetsError) and error.__cause__) or error
        raise ValueError(f"{file}: {reason}") from error


def load_texts(file: str | None) -> list[str]:
    """Return the texts of a file, see `read_file`, or for `None` the training texts of the documentation corpus."""
    rows = read_file(file, ["text"]) if file else load_documentation_corpus()["train"]
    return list(rows["text"])


def _read_columns(batch: dict[str, list], indices: list[int], label_column: str | None) -> dict[str, list]:
    reads = {column: _as_label if column == label_column else text_or_empty for column in batch}
    return {column: read_cells(reads[column], values, indices, column) for column, values in batch.items()}


def _as_label(value: Any) -> str:
    if value is None:
        raise ValueError("there is no label")
    return as_text(value)


def text_or_empty(value: Any) -> str:
    """Return the text of a cell; a missing one is empty."""
    return "" if value is None else as_text(value)


def read_cells(read: Callable[[Any], Any], values: Iterable[Any], indices: Iterable[int], column: str) -> list[Any]:
    """Return what `read` returns for each value of a column.

    Raises:
        ValueError: `read` raises it; the message names the row, counted from 0, and the column.
    """
    cells = []
    for index, value in zip(indices, values, strict=True):
        try:
            cells.append(read(value))
        except ValueError as error:
            raise ValueError(f"row {index}, column {column}: {error}") from error
    return cells


def read_table(file: str, **options: Any) -> Any:
    """Read all columns of a csv, json or txt file.

    Args:
        file: Its name; the ending names the format.
        **options: Options of `load_dataset`, such as `cache_dir` and `streaming`.

    Returns:
        A `Dataset`, or an `IterableDataset` if `streaming`. All columns of csv and txt files are texts.

    Raises:
        DatasetsError: The file cannot be read.
        OSError: There is no such file.
        ValueError: The file cannot be read, or has no rows.
    """
    readers: dict[str, Callable[..., Any]] = {".csv": _read_csv_file, ".json": read_json, ".txt": _read_lines}
    is_empty = Path(file).is_file() and not Path(file).stat().st_size
    rows = () if is_empty else readers[Path(file).suffix](file, **options)
    if is_empty or (isinstance(rows, Dataset) and not len(rows)):
        raise ValueError("there are no rows")
    return rows


def _read_csv_file(file: str, **options: Any) -> Dataset | IterableDataset:
    return read_csv("csv", data_files=file, split="train", **options)


def _read_lines(file: str, **options: Any) -> Dataset | IterableDataset:
    return load_dataset("text", data_files=file, split="train", **options)


def read_dataset(path: str, name: str | None = None, streaming: bool = False, **options: Any) -> Any:
    """Read all splits of a dataset; its csv and json files as they are, unless it declares the types of its columns.

    Args:
        path: Folder or Hub id of the dataset.
        name: Its configuration.
        streaming: Whether to return an `IterableDatasetDict`.
        **options: Further options of `load_dataset_builder`, such as `cache_dir` and `token`.
    """
    builder = load_dataset_builder(path, name, **options)
    options["streaming"] = streaming
    files: dict[Any, Any] = builder.config.data_files if builder.info.features is None else {}
    if isinstance(builder, Csv) and files:
        splits = {str(split): read_csv(path, name=name, split=split, **options) for split in files}
    elif isinstance(builder, Json) and files and builder.config.field is None:
        splits = {str(split): read_json(of_split, **options) for split, of_split in files.items()}
    else:
        return load_dataset(path, name, **options)
    return IterableDatasetDict(splits) if streaming else DatasetDict(splits)


def read_csv(path: str = "csv", streaming: bool = False, **options: Any) -> Dataset | IterableDataset:
    """Read csv files, whose cells all stay texts; an empty cell is missing.

    Args:
        path: As for `load_dataset`: a dataset of csv files, or `"csv"` and the option `data_files`.
        streaming: Whether to return an `IterableDataset`, which reads the files on the fly.
        **options: Further options of `load_dataset`, of which `split` is required.

    Raises:
        ValueError: There are no rows, or the first has more cells than the header.
    """
    options |= CSV_OPTIONS
    first_row: dict[str, Any] = next(iter(load_dataset(path, streaming=True, nrows=1, **options)), {})
    if not first_row:
        raise ValueError("there are no rows")
    if "__index_level_0__" in first_row:  # pandas takes surplus cells for an index
        raise ValueError("the first row has more cells than the header")
    return load_dataset(
        path, streaming=streaming, features=Features(dict.fromkeys(first_row, Value("string"))), **options
    )
