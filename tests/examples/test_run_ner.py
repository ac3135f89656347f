"""Tests of `examples/run_ner.py`, from outside: what it reads, writes and refuses."""

import itertools

import pytest
from outputs import assert_equal_weights, results
from run_ner import main  # noqa: F401 (the fixture `run` calls it)
from transformers import AutoConfig, pipeline

TRAIN = ("--do_train", "--num_train_epochs", 15)


@pytest.fixture
def tagged():
    """Return 48 rows of words of which a name, of one word or two, is tagged."""
    names = [["Anna"], ["Boris"], ["Clara", "Stone"], ["David", "Moor"]]
    starts, ends = (["Yesterday"], ["I", "saw", "that"]), (["came", "home"], ["slept"], ["went", "far", "away"])
    times = (["late"], [])
    return [
        {
            "tokens": [*start, *name, *end, *time],
            "ner_tags": ["O"] * len(start) + ["B-PER", "I-PER"][: len(name)] + ["O"] * len(end + time),
        }
        for start, name, end, time in itertools.product(starts, names, ends, times)
    ]


@pytest.fixture
def train_file(write, tagged):
    return write("train.json", tagged)


def predictions(folder):
    return [line.split() for line in (folder / "predictions.txt").read_text().splitlines()]


@pytest.mark.slow
def test_entities_are_learnt_and_predicted(run, train_file, tagged, write):
    test_file = write("test.json", [{"tokens": row["tokens"]} for row in tagged])
    out = run(
        *("--train_file", train_file, "--validation_file", train_file, "--test_file", test_file),
        *TRAIN,
        *("--do_eval", "--do_predict"),
    )
    found = results(out)
    assert found["eval_f1"] == found["eval_precision"] == found["eval_recall"] == found["eval_accuracy"] == 1
    assert predictions(out) == [row["ner_tags"] for row in tagged]
    assert list(AutoConfig.from_pretrained(out).id2label.values()) == ["B-PER", "I-PER", "O"]
    (entity,) = pipeline("token-classification", str(out), aggregation_strategy="simple")("Yesterday Anna slept")
    assert (entity["entity_group"], entity["word"]) == ("PER", "Anna")


def test_files(run, train_file):
    out = run("--train_file", train_file, "--do_train", "--do_eval", "--max_steps", 1, "--return_entity_level_metrics")
    assert {file.name for file in out.iterdir()} >= {"README.md", "eval_results.json", "model.safetensors"}
    assert results(out).items() >= {"train_samples": 45, "eval_samples": 3, "world_size": 1}.items()
    assert "eval_PER_recall" in results(out)


@pytest.mark.slow
def test_tags_of_words_have_an_accuracy_alone(run, write, tagged):
    kinds = [{"words": row["tokens"], "pos_tags": [str(len(word) % 2) for word in row["tokens"]]} for row in tagged]
    out = run(
        "--train_file", write("kinds.json", kinds), "--task_name", "pos", "--do_train", "--do_eval", "--max_steps", 1
    )
    assert "eval_accuracy" in results(out)
    assert "eval_f1" not in results(out)


@pytest.mark.slow
def test_every_word_has_a_tag(run, train_file, tagged, write, caplog):
    """Also words that the tokenizer drops, and words beyond the maximum length."""
    dropped = ["\u200b", "\x07", " ", ""]
    rows = [{"tokens": row["tokens"][:1] + dropped[:i] + row["tokens"][1:]} for i, row in enumerate(tagged)]
    test_file = write("test.json", rows)
    out = run("--train_file", train_file, "--test_file", test_file, *TRAIN, "--do_predict")
    expected = [row["ner_tags"][:1] + ["O"] * len(dropped[:i]) + row["ner_tags"][1:] for i, row in enumerate(tagged)]
    assert predictions(out) == expected
    caplog.clear()
    # [CLS], two tokens, [SEP]
    options = ("--test_file", train_file, "--do_predict", "--max_seq_length", 4)
    short = run("--model_name_or_path", out, *options, output="short", new=False)
    assert [len(tags) for tags in predictions(short)] == [len(row["tokens"]) for row in tagged]
    assert all(tag == "O" for tags in predictions(short) for tag in tags[2:])
    assert "words get the tag O without a prediction" in caplog.text


def test_words_without_a_prediction_have_the_most_frequent_tag_if_there_is_no_o(run, write, tagged):
    kinds = [{"tokens": row["tokens"], "pos_tags": ["NOUN"] * len(row["tokens"])} for row in tagged]
    kinds[0]["pos_tags"][0] = "VERB"
    file = write("kinds.json", kinds)
    test_file = write("test.json", [{"tokens": ["Anna", "", "slept"]}])
    options = ("--task_name", "pos", "--do_train", "--do_predict", "--num_train_epochs", 3)
    out = run("--train_file", file, "--test_file", test_file, *options)
    assert predictions(out) == [["NOUN"] * 3]


def test_tags_of_rows_to_predict_are_ignored(run, write, tagged, train_file):
    test_file = write("test.json", [{"tokens": ["Anna", "slept"], "ner_tags": ["?"]}])
    out = run("--train_file", train_file, "--test_file", test_file, "--do_train", "--do_predict", "--max_steps", 1)
    assert len(predictions(out)[0]) == 2


def test_models_that_return_hidden_states_are_evaluated(run, train_file):
    files = ("--train_file", train_file, "--validation_file", train_file, "--test_file", train_file)
    overrides = ("--config_overrides", "output_hidden_states=true")
    out = run(*files, "--do_train", "--do_eval", "--do_predict", "--max_steps", 1, *overrides)
    assert "eval_f1" in results(out)
    assert (out / "predictions.txt").exists()


def test_rows_without_words_are_read(run, write, tagged):
    file = write("gaps.json", [*tagged, {"tokens": [], "ner_tags": []}])
    run("--train_file", file, "--validation_file", file, "--do_train", "--do_eval", "--max_steps", 1)


@pytest.mark.slow
def test_resumed_run_ends_as_the_uninterrupted_one(run, train_file):
    options = ("--train_file", train_file, "--do_train", "--num_train_epochs", 2, "--save_steps", 4)
    whole = run(*options, output="whole")
    resumed = run(*options, "--resume_from_checkpoint", whole / "checkpoint-8", output="resumed")
    assert_equal_weights(resumed, whole)


class TestWrongInput:
    def test_words_and_tags_of_other_numbers(self, refused, write):
        file = write("odd.json", [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}, {"tokens": ["a"], "ner_tags": []}])
        assert "Row 1 of the train data has 1 words, but 0 tags" in refused("--train_file", file, "--do_train")

    def test_texts_in_place_of_words(self, refused, write):
        file = write("texts.csv", [{"tokens": "a b", "ner_tags": "O O"}])
        assert "not lists" in refused("--train_file", file, "--do_train")

    def test_text_among_lists_of_words(self, refused, write, tagged):
        file = write("texts.json", [*tagged, {"tokens": "a b", "ner_tags": ["O"]}])
        assert (
            refused("--train_file", file, "--do_train") == "Row 48 of the train data has the tokens 'a b', not a list"
        )

    def test_no_column_of_tags(self, refused, train_file):
        assert "no column pos" in refused("--train_file", train_file, "--do_train", "--label_column_name", "pos")

    def test_no_tags_at_all(self, refused, write):
        file = write("words.json", [{"tokens": ["a"]}])
        assert "no column of tags" in refused("--train_file", file, "--do_train")

    def test_one_tag(self, refused, write):
        file = write("words.json", [{"tokens": ["a"], "ner_tags": ["O"]}])
        assert "two labels" in refused("--train_file", file, "--do_train")

    def test_missing_tag(self, refused, write):
        file = write(
            "words.json", [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}, {"tokens": ["a"], "ner_tags": [None]}]
        )
        assert "Row 1 of the train data has the tag None" in refused("--train_file", file, "--do_train")

    def test_tag_that_training_lacks(self, refused, write, train_file):
        file = write("other.json", [{"tokens": ["a"], "ner_tags": ["B-ORG"]}])
        message = refused("--train_file", train_file, "--validation_file", file, "--do_train", "--do_eval")
        assert "B-ORG" in message
