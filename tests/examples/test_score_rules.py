"""Tests of `examples/score_rules.py`: they solve what a rule solves."""

import pytest
from datasets import Dataset, DatasetDict
from score_rules import first_sentences, main, most_frequent_tags, most_similar_endings, tfidf_similarity


def both(rows):
    return DatasetDict(train=Dataset.from_list(rows), validation=Dataset.from_list(rows))


def test_most_frequent_tags():
    rows = [{"tokens": ["call", word], "ner_tags": ["O", tag]} for word, tag in [("f", "B-CODE"), ("g", "O")]]
    assert most_frequent_tags(both(rows)) == {"accuracy": 1, "f1": 1}
    odd = {"tokens": ["f", "f", "f"], "ner_tags": ["B-CODE", "B-CODE", "O"]}
    assert most_frequent_tags(both([odd]))["accuracy"] == pytest.approx(2 / 3)


def test_most_similar_endings():
    row = {"sent1": "A wave breaks.", "ending0": "No.", "ending1": "The wave is gone.", "ending2": "b", "ending3": "c"}
    assert most_similar_endings(both([row | {"label": 1}, row | {"label": 2}])) == {"accuracy": 0.5}


def test_first_sentences():
    answers = {"text": ["The size."], "answer_start": [16]}
    row = {"question": "What is size?", "context": "x : A. B. size : The size. More.", "answers": answers}
    assert first_sentences(both([row])) == {"exact_match": 100, "f1": 100}


def test_tfidf_similarity(write):
    rows = [{"sent1": "a red wave", **{f"ending{i}": "blue water" for i in range(4)}}]
    rated = [("red", "red", 5), ("red", "blue", 0), ("red wave", "red water", 3)]
    file = write("rated.csv", [dict(zip(("sentence1", "sentence2", "label"), row, strict=True)) for row in rated])
    assert tfidf_similarity(both(rows), file) == {"spearman": pytest.approx(1)}


def test_missing_folder_ends_with_one_line(command_line, tmp_path):
    command_line("--folder", tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="nowhere") as error:
        main()
    assert "\n" not in error.value.code
