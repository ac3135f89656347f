"""The card that a script writes shows labels and data as they are, and nothing of the machine."""

import pytest
from huggingface_hub import ModelCard
from run_classification import main  # noqa: F401 (the fixture `run` runs it)

LABELS = ["<img src=https://example.com/a.png>", "kitchen\n\n# Heading ](x) $y$ |"]


@pytest.fixture
def labelled_rows(rows):
    """Return rows whose labels are markup."""
    return [row | {"label": LABELS[row["label"] == "kitchen"]} for row in rows]


@pytest.fixture
def card(run, write, labelled_rows, tmp_path):
    """Return the card of a run on a folder of rows."""
    (tmp_path / "the data").mkdir()
    write("the data/train.csv", labelled_rows)
    folder = run("--dataset_name", tmp_path / "the data", "--do_train", "--do_eval", "--max_steps", 1)
    return ModelCard.load(folder / "README.md")


def test_labels_are_no_markup(card):
    assert ".png&#62;, kitchen # Heading &#93;(x) &#36;y&#36; &#124;." in card.text
    assert "<img" not in card.content


def test_a_folder_of_rows_is_named_but_has_no_id(card, tmp_path):
    assert card.data.datasets is None
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.dataset_type) == ("the data", "file")
    assert "- data: the data\n" in card.text
    assert "--dataset_name 'the data'" in card.text
    assert str(tmp_path.parent) not in card.content


@pytest.mark.slow
@pytest.mark.parametrize("start", ["folder", "folder/"])
def test_a_folder_that_training_started_from_is_no_base_model(start, run, write, labelled_rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write("train.csv", labelled_rows)
    run("--train_file", file, "--do_train", "--max_steps", 1, output="folder")
    options = ("--model_name_or_path", start, "--train_file", file, "--do_train", "--max_steps", 1)
    card = ModelCard.load(run(*options, new=False) / "README.md")
    assert card.data.base_model is None
