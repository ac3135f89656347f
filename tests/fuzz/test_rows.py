"""Rows of any content, in csv or json: read as they were written, or one line that names what is wrong."""

import csv
import json
import random

import pytest

from wave_hf import WaveConfig
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.data import load_splits
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.labels import infer_task
from wave_hf.training.readers import read_file
from wave_hf.training.rows import check_labels, read_rows

from .cases import result_or_error, result_or_line, sample, seeds

pytestmark = pytest.mark.slow

CELLS = ["NA", "None", "null", "nan", "007", "1", "1.0", "1e5", "-1", "true", "True", "2020-01-01", "12:30", "inf"]
CELLS += ["", " ", "a wave", "a,b", 'a "wave"', "'", "two\nlines", "tab\tand more", "é", "\u200b", "$5", "<b>", "=1+1"]
CELLS += ["{}", "[1]", '{"a": 1}', "\\", "%s", "1_000", "0x10", "½", "😀"]
SCALARS = [0, 1, -1, 7, 2**40, 2**70, 0.5, 1.0, 1e30, True, False]
NESTED = [[], [1], ["a"], {}, {"a": 1}, [None], [["a"]]]
LABELS = {
    "names": ["sea", "land", "air", "NA", "007"],
    "integers": ["0", "1", "2", "-1"],
    "floats": ["0.0", "1.0", "2.0"],
    "scores": ["0.5", "1.25", "-3", "1e-3"],
    "numbers and names": ["1", "2", "a"],
    "one": ["a"],
    "bad scores": ["0.5"] * 30 + ["1.5", "n/a"],
}


def as_written(value):
    """Return the text that a value of json stands for, as a csv cell would hold it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def write(file, columns, rng):
    """Write columns of values as csv, lines of json, a list or an object with `data`."""
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    with file.open("w", newline="", encoding=rng.choice(["utf-8", "utf-8-sig"])) as stream:
        if file.suffix == ".csv":
            writer = csv.writer(stream, quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
            writer.writerow(columns)
            writer.writerows(row.values() for row in rows)
        elif (form := rng.choice(["lines", "list", "data"])) == "lines":
            stream.writelines(json.dumps(row, ensure_ascii=rng.random() < 0.5) + "\n" for row in rows)
        else:
            json.dump(rows if form == "list" else {"data": rows}, stream)
    return str(file)


@seeds(80)
def test_texts(seed, tmp_path):
    rng = random.Random(seed)
    suffix, number = rng.choice([".csv", ".json"]), rng.randint(1, 6)
    kinds = [CELLS] if suffix == ".csv" else sample(rng, [CELLS, SCALARS, [None], NESTED], 3)
    texts = [rng.choice(rng.choice(kinds)) for _ in range(number)]
    if suffix == ".csv" and not any(texts):
        texts[0] = "a wave"  # a blank line is no row
    columns = {"text": texts, "other": [rng.choice(CELLS + SCALARS + NESTED) for _ in range(number)]}
    if suffix == ".csv":
        columns["other"] = [f"x{value}" for value in columns["other"]]
    file = write(tmp_path / f"rows{suffix}", columns, rng)
    rows, message = result_or_error(read_file, file, ["text"])
    if message is not None:
        assert any(isinstance(text, list | dict) for text in texts), message
        row = next(row for row, text in enumerate(texts) if isinstance(text, list | dict))
        assert f"{file}: row {row}, column text: " in message
        return
    assert list(rows["text"]) == [as_written(text) for text in texts]


@seeds(60)
def test_labels(seed, tmp_path):
    rng = random.Random(seed)
    kind, number = rng.choice(list(LABELS)), rng.randint(2, 40)
    labels = [rng.choice(LABELS[kind]) for _ in range(number)]
    missing = rng.random() < 0.2
    if missing:
        labels[rng.randrange(number)] = None if rng.random() < 0.5 else ""
    suffix = rng.choice([".csv", ".json"])
    columns = {"text": [f"wave {row}" for row in range(number)], "label": labels}
    file = write(tmp_path / f"rows{suffix}", columns, rng)
    option = rng.choice([{}, {}, {"is_regression": True}, {"is_regression": False}, {"is_multi_label": True}])

    def read():
        splits = load_splits(ModelArguments(), DataArguments(train_file=file), {"train"})
        task = infer_task(WaveConfig(), splits, "label", **option)
        rows = read_rows(splits, task, lambda rows, split: {"text": ["text"]}, "label")
        check_labels(rows, task)
        return task, rows["train"]

    result, line = result_or_line(read)
    is_number = all(label and label.lstrip("-").replace(".", "").replace("e-", "").isdigit() for label in labels)
    if line is not None:
        has_one = len({label for label in labels if label}) < 2
        is_mixed = kind in ("bad scores", "numbers and names")
        assert missing or has_one or is_mixed or option.get("is_regression"), (line, labels)
        return
    task, rows = result
    if task.problem_type == "regression":
        assert is_number
        assert list(rows["label"]) == pytest.approx([float(label) for label in labels])
        return
    expected = [label or None for label in labels] if suffix == ".csv" else labels
    if task.problem_type == "multi_label_classification":
        assert [label[0] if label else None for label in rows["label"]] == expected
        return
    assert list(rows["label"]) == expected
    assert [task.decode(task.encode(label)) for label in rows["label"]] == expected
    assert set(task.label_names) == set(expected)


@seeds(40)
def test_bytes(seed, tmp_path):
    """A file that was cut off or damaged is read or refused in one line that names it."""
    rng = random.Random(seed)
    columns = {"text": rng.choices(CELLS, k=9), "label": rng.choices(["sea", "land"], k=9)}
    file = tmp_path / rng.choice(["rows.csv", "rows.json"])
    write(file, columns, rng)
    content = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(content))
        change = rng.choice([b"", b"\x00", b"\xff", b'"', b"{", b"\n", b",", b"\r"])
        content[place : place + rng.choice([0, 1, len(content)])] = change
        content = content or bytearray(b" ")
    file.write_bytes(content)
    data_args = DataArguments(train_file=str(file))

    def read():
        with exit_all_ranks():
            return load_splits(ModelArguments(), data_args, {"train"})

    splits, line = result_or_line(read)
    if line is None:
        assert {"label"} <= set(splits["train"].column_names)
    else:
        assert str(file) in line or "train data has no" in line
