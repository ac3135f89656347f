# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading json files as they are.

The json reader of the datasets library turns strings that look like dates into dates and, in columns of several types,
strings that look like numbers into numbers. This one parses json itself, from lines or documents that the library
reads, caches and streams.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, islice
from reprlib import repr as short_repr
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, IterableDataset, load_dataset

# The type of columns that hold lists or objects of no common type. Each value is kept as json, so that a column that
# is not used does not matter, and `as_text` refuses the very row that is wrong.
MIXED_KEY = "__json__"
MIXED_TYPE = pa.struct({MIXED_KEY: pa.string()})


def as_value(value: Any) -> Any:
    """Return the value of a cell, which is kept as json in a column of mixed types."""
    is_mixed = isinstance(value, dict) and value.keys() == {MIXED_KEY}
    return json.loads(value[MIXED_KEY]) if is_mixed else value


def as_text(value: Any) -> str:
    """Return a string itself, and a number or truth value as json writes it.

    Raises:
        ValueError: The value is a list, an object or bytes.
    """
    value = as_value(value)
    if isinstance(value, list | dict | bytes):
        kind = {list: "a list", dict: "an object", bytes: "bytes"}[type(value)]
        raise ValueError(f"{short_repr(value)} is {kind}, but should be a text")
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_json(data_files: Any, streaming: bool = False, **options: Any) -> Dataset | IterableDataset:
    """Read json files: an object per line, a list of objects, or an object whose `data` is a list of them.

    Scalars of several types in a column become texts.

    Args:
        data_files: Names of the files.
        streaming: Whether to return an `IterableDataset`, which reads the files on the fly.
        **options: Further options of `load_dataset`.

    Raises:
        ValueError: A file is not json, or holds something else than rows.
    """
    options |= {"data_files": data_files, "split": "train", "encoding": "utf-8-sig"}
    lines = (row["text"] for row in load_dataset("text", streaming=True, **options))
    head = list(islice((line for line in lines if line.strip()), 2))
    if not head:
        raise ValueError("there are no rows")
    is_document = len(head) < 2 or not _is_object(head[0])
    sample_by = "document" if is_document else "line"
    texts = load_dataset("text", sample_by=sample_by, streaming=streaming, **options)
    how = {"batched": True, "with_indices": True, "remove_columns": "text"}
    if streaming:
        return texts.map(_parse_columns, fn_kwargs={"is_document": is_document}, **how)
    types = _column_types(texts, is_document)
    return texts.map(
        _parse_columns,
        fn_kwargs={"is_document": is_document, "types": types},
        features=Features.from_arrow_schema(pa.schema(types)),
        desc="Parsing json",
        **how,
    )


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _parse_columns(
    batch: dict[str, list], indices: Iterable[int], is_document: bool, types: dict[str, pa.DataType] | None = None
) -> dict[str, list]:
    """Return the columns of the rows in a batch of lines, or in a document."""
    rows = [
        row
        for index, text in zip(indices, batch["text"], strict=True)
        if is_document or text.strip()
        for row in _parse_rows(text, None if is_document else index + 1)
    ]
    if types is None:
        return {name: [row.get(name) for row in rows] for name in dict.fromkeys(chain(*rows))}
    return {name: [_convert(row.get(name), kind) for row in rows] for name, kind in types.items()}


def _parse_rows(text: str, line: int | None) -> list[dict[str, Any]]:
    """Return the rows in a line, or in a whole document (None)."""
    place = "" if line is None else f"line {line}: "
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{place}{error}") from error
    data = content.get("data") if line is None and isinstance(content, dict) else None
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        content = data
    rows = content if line is None and isinstance(content, list) else [content]
    rows = [{"text": row} if isinstance(row, str) else row for row in rows]
    for row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{place}a row is {short_repr(row)}, but should be an object")
    return rows


def _column_types(texts: Dataset, is_document: bool) -> dict[str, pa.DataType]:
    """Return a type for each column that fits all of its values."""
    types: dict[str, set[pa.DataType]] = defaultdict(set)
    first = 0
    for batch in texts.iter(1000):
        indices = range(first, first + len(batch["text"]))
        first = indices.stop
        for name, values in _parse_columns(batch, indices, is_document).items():
            types[name] |= _value_types(values)
    return {name: _common_type(of_column) for name, of_column in types.items()}


def _value_types(values: list[Any]) -> set[pa.DataType]:
    """Return the types of values: one if all are of one type, or else those of each."""
    if len({type(value) for value in values} - {type(None)}) > 1:
        return set(map(_value_type, values))
    try:
        return {pa.array(values).type}
    except (pa.ArrowException, OverflowError):
        return set(map(_value_type, values))


def _value_type(value: Any) -> pa.DataType:
    try:
        return pa.array([value]).type
    except (pa.ArrowException, OverflowError):  # a list of mixed types, or an integer of more than 64 bits
        if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
            return pa.list_(pa.string())
        return MIXED_TYPE if isinstance(value, list | dict) else pa.string()


def _common_type(types: set[pa.DataType]) -> pa.DataType:
    types = types - {pa.null()}
    if len(types) == 1:
        return types.pop()
    if not any(map(pa.types.is_nested, types)):
        return pa.string()
    try:
        schemas = [pa.schema({"": kind}) for kind in types]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        is_list = all(pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type) for kind in types)
        return pa.list_(pa.string()) if is_list else MIXED_TYPE


def _convert(value: Any, kind: pa.DataType) -> Any:
    """Return the value as its column needs it."""
    if value is None:
        return None
    if kind == MIXED_TYPE:
        return {MIXED_KEY: json.dumps(value)}
    if kind == pa.string():
        return as_text(value)
    if kind == pa.list_(pa.string()):
        return [None if item is None else as_text(item) for item in value]
    return value
