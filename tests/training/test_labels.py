"""The task that labels define, and the labels that do not fit it."""

import pytest
from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from wave_hf import WaveConfig
from wave_hf.training.labels import infer_task, infer_token_task, make_label_reader, parse_number
from wave_hf.training.rows import check_labels
from wave_hf.training.tasks import Task

REGRESSION = Task("regression", ["LABEL_0"])


def single(*names):
    return Task("single_label_classification", list(names))


def multi(*names):
    return Task("multi_label_classification", list(names))


def labelled(labels, feature=None):
    return Dataset.from_dict({"label": labels}, features=feature and Features(label=feature))


def infer(labels, *options, feature=None, config=None):
    return infer_task(config or WaveConfig(), {"train": labelled(labels, feature)}, "label", *options)


class TestInferTask:
    @pytest.mark.parametrize(
        ("labels", "task"),
        [
            (["b", "a", "b"], single("a", "b")),
            (["10", "9", "9", "-1"], single("-1", "9", "10")),
            (["007", "7", "01"], single("01", "007", "7")),
            ([True, False], single("false", "true")),
            ([3, 1, 2], single("1", "2", "3")),
            (["1", "two", "3", "four"], single("1", "3", "four", "two")),
            # Integers of which one was missing, as pandas writes them.
            (["1.0", "0.0", "1.0", "0.0"], single("0.0", "1.0")),
            ([1.0, 0.0, 1.0, 0.0], single("0.0", "1.0")),
            (["0.5", "1", "-2e-1"], REGRESSION),
            ([0.5, 1.0], REGRESSION),
            ([float(price) for price in range(100)], REGRESSION),
            ([["a"], ["a", "b"], []], multi("a", "b")),
            ([[1, 3], [2]], multi("1", "2", "3")),
            ([[0, 1, 0], [1, 1, 0], None], multi("LABEL_0", "LABEL_1", "LABEL_2")),
            ([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], multi("LABEL_0", "LABEL_1", "LABEL_2")),
        ],
    )
    def test_by_the_labels(self, labels, task):
        assert infer(labels) == task

    def test_classes_of_a_dataset(self):
        assert infer([0, 2], feature=ClassLabel(names=["1.5", "0.5", "x"])) == single("1.5", "0.5", "x")
        assert infer([[0, 1], [1, 0]], feature=List(ClassLabel(names=["0", "1"]))) == multi("0", "1")

    def test_large_lists_and_strings(self):
        feature = LargeList(Value("large_string"))
        assert infer([["a"], ["b", "a"]], feature=feature) == multi("a", "b")
        assert infer(["a", "b"], feature=Value("large_string")) == single("a", "b")

    def test_order_of_a_checkpoint_with_the_same_labels(self):
        config = WaveConfig()
        single("b", "a").write_to(config)
        assert infer(["a", "b"], config=config) == single("b", "a")
        assert infer([[0, 1], [1, 1]], config=config) == multi("b", "a")

    def test_options_overrule_the_labels(self):
        assert infer(["1", "2"], True) == REGRESSION
        assert infer(["0.5", "1.5"], False) == single("0.5", "1.5")
        assert infer(["a", "b"], None, True) == multi("a", "b")
        assert infer([["a"], ["b"]], None, False) == single("a", "b")

    @pytest.mark.parametrize("cell", ["NA", "1,5", "nan", "inf", "1_0"])
    def test_numbers_with_a_mistake_are_refused_with_row_and_cell(self, cell):
        scores = [str(i / 7) for i in range(5)]
        with pytest.raises(SystemExit, match=rf"row 3 has the label '{cell}'.*--do_regression False"):
            infer([*scores[:3], cell, *scores[3:]])
        assert infer([*scores[:3], cell, *scores[3:]], False).problem_type == "single_label_classification"

    def test_nearly_all_whole_numbers_are_refused_too(self):
        with pytest.raises(SystemExit, match="row 0 has the label 'NA', but 95%"):
            infer(["NA", *map(str, range(19))])

    def test_one_class(self):
        with pytest.raises(SystemExit, match="needs two labels, but the training data has a"):
            infer(["a", "a"])

    @pytest.mark.parametrize(
        ("labels", "parts"),
        [
            (["a", "b"], ("single_label_classification of 2 labels", "names", "--do_multi_label")),
            (["1", "2"], ("single_label_classification of 2 labels", "whole numbers", "--do_regression")),
            ([0.5, 1.5], ("regression", "numbers such as 0.5", "--do_regression False")),
            ([["a"], ["b"]], ("multi_label_classification of 2 labels", "lists", "--do_multi_label False")),
            (
                [[0, 1], [1, 1]],
                ("multi_label_classification of 2 labels", "a place for each", "--do_multi_label False"),
            ),
        ],
    )
    def test_log_says_which_why_and_what_overrules_it(self, labels, parts, caplog):
        with caplog.at_level("INFO", "wave_hf"):
            infer(labels)
        (record,) = caplog.records
        assert all(part in record.message for part in parts)

    def test_without_training_rows_the_checkpoint_decides(self):
        config = WaveConfig()
        multi("red", "green").write_to(config)
        assert infer_task(config, {"validation": labelled([0.5])}, "label") == multi("red", "green")


def test_tags_of_tokens_are_no_vectors():
    rows = labelled([[0, 1, 1], [1, 0, 0]])
    assert infer_token_task(WaveConfig(), {"train": rows}, "label") == single("0", "1")


class TestReadLabel:
    def read(self, labels, task, feature=None):
        rows = labelled(labels, feature)
        return [make_label_reader(rows, "label", task)(label) for label in rows["label"]]

    def test_values(self):
        assert self.read(["1.5", " 2", None], REGRESSION) == [1.5, 2.0, None]
        assert self.read([1, 2], REGRESSION) == [1.0, 2.0]

    def test_names(self):
        assert self.read([1, None], single("1", "2")) == ["1", None]
        assert self.read([1, -1], single("a", "b"), ClassLabel(names=["a", "b"])) == ["b", None]
        assert self.read([["a"], ["b"]], single("a", "b")) == ["a", "b"]

    def test_lists_of_names(self):
        assert self.read([["a", "b"], None], multi("a", "b")) == [["a", "b"], []]
        assert self.read(["a", "b"], multi("a", "b")) == [["a"], ["b"]]

    def test_vectors(self):
        task = multi("red", "green", "blue")
        assert self.read([[0, 1, 1], [0, 0, 0], None], task) == [["green", "blue"], [], []]
        assert self.read([[1.0, 0.0, 0.0]], task) == [["red"]]
        assert self.read([[0, 1], [1, 0]], single("red", "green")) == ["green", "red"]
        assert self.read([[0, 1], [1, 0]], multi("0", "1")) == [["0", "1"], ["1", "0"]]

    @pytest.mark.parametrize(
        ("label", "task", "message"),
        [
            ("x", REGRESSION, "the label is 'x', but a regression needs numbers"),
            (["a", "b"], single("a", "b"), "a list of 2, but should be one label"),
            ([0, 1], multi("a", "b", "c"), "the label has 2 places, but there are 3 labels"),
            ({"a": 1}, single("a", "b"), "is an object, but should be a text"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, label, task, message):
        with pytest.raises(ValueError, match=message):
            self.read([label], task)


class TestCheckLabels:
    def test_names_split_row_and_label(self):
        rows = labelled(["a", "c"])
        with pytest.raises(
            SystemExit, match=r"label 'c' in row 1 of the validation data is none of a, b \(.*--do_train"
        ):
            check_labels({"validation": rows}, single("a", "b"))
        with pytest.raises(SystemExit, match="Row 1 of the train data has no label"):
            check_labels({"train": labelled(["a", None])}, single("a", "b"))
        with pytest.raises(SystemExit, match="Row 0 of the train data has no label"):
            check_labels({"train": labelled([None, 0.5])}, REGRESSION)

    def test_rows_to_predict_may_have_any(self):
        check_labels({"test": labelled(["?", None])}, single("a", "b"))


def test_numbers_are_finite_and_plain():
    assert [parse_number(text) for text in ("-1.5", "1e3", "nan", "-inf", "1_000", "1,5", "")] == [
        -1.5,
        1000,
        *[None] * 5,
    ]
