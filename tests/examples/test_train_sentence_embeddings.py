"""Tests of `examples/train_sentence_embeddings.py`, from outside: what it reads, writes and refuses."""

import pytest
from outputs import results

sentence_transformers = pytest.importorskip("sentence_transformers")

from train_sentence_embeddings import main  # noqa: E402, F401 (the fixture `run` calls it)


@pytest.fixture
def pairs(rows):
    """Return 72 pairs of sentences of one topic."""
    words = {"weather": "It was wet", "kitchen": "It was tasty"}
    return [{"sentence1": row["text"], "sentence2": words[row["label"]]} for row in rows]


@pytest.fixture
def rated_file(write):
    """Return a file of pairs that are alike or not."""
    sentences = {"The rain fell": "weather", "Much snow": "weather", "The soup boiled": "kitchen", "Rice": "kitchen"}
    rows = [
        {"sentence1": first, "sentence2": second, "label": 5.0 * (sentences[first] == sentences[second])}
        for first in sentences
        for second in sentences
    ]
    return write("rated.csv", rows)


@pytest.mark.slow
def test_sentences_of_one_topic_come_close(run, write, pairs, rated_file):
    out = run(
        *("--train_file", write("pairs.csv", pairs), "--validation_file", rated_file, "--do_train", "--do_eval"),
        *("--num_train_epochs", 5),
    )
    found = results(out)
    assert found["eval_spearman_cosine"] > 0.8
    assert found.items() >= {"train_samples": 72, "eval_samples": 16}.items()
    again = run("--model_name_or_path", out, "--validation_file", rated_file, "--do_eval", output="again", new=False)
    assert results(again)["eval_spearman_cosine"] == pytest.approx(found["eval_spearman_cosine"], abs=1e-6)
    options = {"processor_kwargs": {"model_max_length": 128}, "device": "cpu"}
    encoder = sentence_transformers.SentenceTransformer(str(out), **options)
    rain, snow, soup = encoder.encode(["The rain fell", "Much snow", "The soup boiled"])
    assert encoder.similarity(rain, snow) > encoder.similarity(rain, soup)


def test_rows_without_a_rating(refused, write, pairs):
    file = write("pairs.csv", pairs)
    message = refused("--train_file", file, "--validation_file", file, "--do_train", "--do_eval")
    assert "The validation data has no column label" in message


def test_a_rating_that_is_no_number(refused, write, pairs):
    file = write("rated.csv", [pairs[0] | {"label": 5}, pairs[1] | {"label": "similar"}])
    message = refused("--train_file", write("pairs.csv", pairs), "--validation_file", file, "--do_train", "--do_eval")
    assert message.startswith("The validation data: row 1, column label: ")
    assert "similar" in message


def test_no_rated_rows(refused, write, pairs):
    message = refused("--train_file", write("pairs.csv", pairs), "--do_train", "--do_eval")
    assert "--validation_file" in message
