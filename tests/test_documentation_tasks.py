"""The tasks that need no download: the rows built from docstrings, and their files."""

import json

import pytest

from wave_hf import documentation_tasks
from wave_hf.documentation_tasks import load_code_words, load_next_sentences, load_parameters, main

SOURCE = '''
"""Return the `axis` of ``numpy.ndarray`` where :class:`~lib.Array` has [`Model.fit`](link) or a plain word {i} in it.

The first sentence {i} of the module stands here alone. The second sentence {i} of the module goes on with it.
"""


def numpy_style(x, axis):
    """Add numbers.

    Parameters
    ----------
    x : array_like
        Numbers that are added {i} times. They may be of any kind.

        A second paragraph.
    axis : int, optional
        Axis along which {i} numbers are added.

    Returns
    -------
    y : ndarray
        The sum.
    """


def google_style(text, size):
    """Cut a text.

    Args:
        text (`str`, *optional*): The text that is {i} times
            cut into parts.
        size: How many {i} parts it becomes.

    Returns:
        list: The parts.
    """
'''


@pytest.fixture(autouse=True)
def library(monkeypatch, tmp_path):
    """Install a library of 20 files in place of those that the tasks are made of."""
    folder = tmp_path / "wordlib"
    folder.mkdir()
    for i in range(20):
        (folder / f"module{i}.py").write_text(SOURCE.replace("{i}", str(i)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(documentation_tasks, "LIBRARIES", ("wordlib",))


def all_rows(splits):
    return [row for rows in splits.values() for row in rows]


def test_code_is_what_stood_between_backticks():
    rows = all_rows(load_code_words())
    assert len(rows) == 20
    for row in rows:
        tagged = list(zip(row["tokens"], row["ner_tags"], strict=True))
        assert [word for word, tag in tagged if tag != "O"] == ["axis", "numpy.ndarray", "lib.Array", "Model.fit"]
        assert {tag for _, tag in tagged} == {"B-CODE", "O"}
        assert row["tokens"][-5:] == ["word", row["tokens"][-4], "in", "it", "."]


def test_label_is_the_ending_that_follows():
    rows = all_rows(load_next_sentences())
    assert len(rows) == 20
    for row in rows:
        assert row[f"ending{row['label']}"] == row["sent1"].replace("first", "second").replace(
            "stands here alone", "goes on with it"
        )
        assert len({row[f"ending{i}"] for i in range(4)}) == 4


def test_answer_describes_the_parameter():
    rows = all_rows(load_parameters())
    assert len(rows) == 40
    assert len({row["id"] for row in rows}) == 40
    beginnings = {"x": "Numbers that", "axis": "Axis along", "text": "The text that is", "size": "How many"}
    for row in rows:
        (text,), (place,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][place:].startswith(text)
        assert text.startswith(beginnings[row["question"].removeprefix("What is ").removesuffix("?")])
        assert "sum" not in row["context"]
        assert "second paragraph" not in row["context"]


def test_splits_have_no_row_in_common_and_depend_on_the_seed():
    splits = load_next_sentences(seed=1)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 16, "validation": 2, "test": 2}
    assert len({row["sent1"] for row in all_rows(splits)}) == 20
    assert all_rows(load_next_sentences(seed=1)) == all_rows(splits) != all_rows(load_next_sentences(seed=2))


def test_files(command_line, tmp_path):
    command_line("--output_dir", tmp_path / "tasks")
    main()
    for task in ("code_words", "next_sentences", "parameters"):
        assert {file.name for file in (tmp_path / "tasks" / task).iterdir()} == {
            "train.json",
            "validation.json",
            "test.json",
        }
    first = (tmp_path / "tasks" / "parameters" / "train.json").read_text().splitlines()[0]
    assert json.loads(first).keys() == {"id", "question", "context", "answers"}
