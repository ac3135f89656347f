"""Files are read as they are: no cell or string becomes a number, a date or a missing value."""

import json
import subprocess
import sys

import pytest
from datasets import List, Value

from wave_hf.training.data import load_file
from wave_hf.training.readers import read_dataset, read_file, read_table


@pytest.fixture
def write_text(tmp_path):
    """Return a function that writes a file of that content and returns its name."""

    def write(name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return str(tmp_path / name)

    return write


@pytest.fixture
def write_lines(write_text):
    """Return a function that writes a json file with an object per line and returns its name."""
    return lambda *rows: write_text("rows.json", "".join(json.dumps(row) + "\n" for row in rows))


class TestCsv:
    def test_cells_stay_texts(self, write_text):
        file = write_text("rows.csv", "text,label,value\n007,01,1.50\nNA,true,1e5\nNone,null,2020-01-01\n")
        rows = read_table(file)
        assert rows["text"][:] == ["007", "NA", "None"]
        assert rows["label"][:] == ["01", "true", "null"]
        assert rows["value"][:] == ["1.50", "1e5", "2020-01-01"]

    def test_only_an_empty_cell_is_missing(self, write_text):
        rows = read_table(write_text("rows.csv", "text,label\n,a\nnan,\n"))
        assert rows[:] == {"text": [None, "nan"], "label": ["a", None]}

    def test_a_column_may_be_empty(self, write_text):
        rows = read_table(write_text("rows.csv", "text,label\na,\nb,\n"))
        assert rows[:] == {"text": ["a", "b"], "label": [None, None]}

    def test_cells_beyond_the_header_are_refused(self, write_text):
        with pytest.raises(ValueError, match="more cells than the header"):
            read_table(write_text("rows.csv", "text,label\na,b,c\n"))

    def test_streamed(self, write_text):
        rows = read_table(write_text("rows.csv", "text,label\n007,NA\n"), streaming=True)
        assert list(rows) == [{"text": "007", "label": "NA"}]


class TestJson:
    def test_strings_that_look_like_something_else_stay_strings(self, write_lines):
        texts = ["2020-01-01", "2020-01-01T10:00:00Z", "007", "null", "[1]"]
        rows = read_table(write_lines(*({"text": text, "label": i} for i, text in enumerate(texts))))
        assert rows["text"][:] == texts
        assert rows["label"][:] == list(range(5))

    def test_scalars_of_several_types_become_texts(self, write_lines):
        rows = read_table(write_lines({"label": "007", "x": 1}, {"label": 1, "x": 2.5}, {"label": True, "x": None}))
        assert rows["label"][:] == ["007", "1", "true"]
        assert rows["x"][:] == ["1", "2.5", None]

    def test_lists_of_several_types_become_lists_of_texts(self, write_lines):
        rows = read_table(write_lines({"label": [1, "a"]}, {"label": [2]}, {"label": None}, {"label": []}))
        assert rows["label"][:] == [["1", "a"], ["2"], None, []]

    def test_types_that_are_alike_stay(self, write_lines):
        answers = {"text": ["a"], "answer_start": [3]}
        rows = read_table(
            write_lines({"tokens": ["a", "2020-01-01"], "tags": [0, 1], "answers": answers, "x": 0.1234567890123456})
        )
        assert rows.features["tokens"] == List(Value("string"))
        assert rows.features["tags"] == List(Value("int64"))
        assert rows[0]["answers"] == answers
        assert rows[0]["x"] == 0.1234567890123456

    def test_a_type_that_appears_late_is_read(self, write_lines):
        rows = read_table(write_lines(*({"label": i, "note": None} for i in range(3000)), {"label": "x", "note": "y"}))
        assert (rows["label"][0], rows["label"][-1], rows["note"][-1]) == ("0", "x", "y")

    def test_a_column_that_is_not_used_may_hold_anything(self, write_lines):
        rows = ({"text": "a", "other": {"a": 1}}, {"text": "b", "other": [1]}, {"text": "c", "more": 2**70})
        assert read_file(write_lines(*rows), ["text"])["text"][:] == ["a", "b", "c"]

    @pytest.mark.parametrize(
        "content",
        [
            '[{"text": "a"},\n {"text": "b"}]',
            '["a", "b"]',
            '{"version": "1.0", "data": [{"text": "a"}, {"text": "b"}]}',
            '\ufeff{"text": "a"}\n\n{"text": "b"}\n',
        ],
    )
    def test_forms(self, write_text, content):
        assert read_table(write_text("rows.json", content))["text"][:] == ["a", "b"]

    def test_a_single_row(self, write_text):
        assert read_table(write_text("rows.json", '{"text": "a", "data": 1}'))[:] == {"text": ["a"], "data": [1]}

    def test_a_wrong_line_is_named(self, write_text):
        with pytest.raises(ValueError, match="line 2"):
            read_table(write_text("rows.json", '{"text": "a"}\n{"text": \n'))
        with pytest.raises(ValueError, match=r"line 2: a row is \[1\], but should be an object"):
            read_table(write_text("rows.json", '{"text": "a"}\n[1]\n'))

    def test_streamed(self, write_lines):
        file = write_lines({"text": "2020-01-01"}, {"text": "b", "label": 1})
        rows = list(read_table(file, streaming=True))
        assert rows == [{"text": "2020-01-01", "label": None}, {"text": "b", "label": 1}]


class TestEmpty:
    @pytest.mark.parametrize(
        ("name", "content"),
        [("a.csv", ""), ("a.csv", "text,label\n"), ("a.json", ""), ("a.json", "\n"), ("a.json", "[]"), ("a.txt", "")],
    )
    def test_files_without_rows_are_refused(self, write_text, name, content):
        with pytest.raises(SystemExit, match=rf"{name}: there are no rows"):
            load_file(write_text(name, content))


class TestReadFile:
    def test_returns_texts_and_labels(self, write_text):
        rows = read_file(write_text("rows.csv", "id,text,label\n7,NA,01\n8,,true\n"), ["text"], "label")
        assert rows[:] == {"text": ["NA", ""], "label": ["01", "true"]}

    def test_numbers_become_texts(self, write_lines):
        rows = read_file(write_lines({"text": 5, "label": 1}, {"text": None, "label": 2}), ["text"], "label")
        assert rows[:] == {"text": ["5", ""], "label": ["1", "2"]}

    def test_optional_columns_may_lack(self, write_text):
        file = write_text("rows.csv", "text\na\n")
        assert read_file(file, ["text", "text_pair"], "label", optional=["text_pair", "label"])[:] == {"text": ["a"]}

    def test_a_column_that_lacks_is_named(self, write_text):
        with pytest.raises(ValueError, match=r"rows\.csv: there is no column text, but sentence, label"):
            read_file(write_text("rows.csv", "sentence,label\na,b\n"), ["text"])

    def test_a_missing_label_is_refused_with_its_row(self, write_text):
        with pytest.raises(ValueError, match=r"rows\.csv: row 1, column label: there is no label"):
            read_file(write_text("rows.csv", "text,label\na,b\na,\n"), ["text"], "label")

    @pytest.mark.parametrize(("text", "kind"), [(["a"], "a list"), ({"a": 1}, "an object")])
    def test_what_is_no_text_is_refused_with_its_row(self, write_lines, text, kind):
        with pytest.raises(ValueError, match=rf"row 1, column text: .* is {kind}, but should be a text"):
            read_file(write_lines({"text": "a"}, {"text": text}), ["text"])

    def test_other_files_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"rows\.txt is neither a \.csv nor a \.json file"):
            read_file("rows.txt", ["text"])
        with pytest.raises(FileNotFoundError, match=r"rows\.json does not exist"):
            read_file(str(tmp_path / "rows.json"), ["text"])

    def test_an_error_of_the_library_is_a_value_error(self, write_text):
        with pytest.raises(ValueError, match=r"rows\.csv: .*Expected 2 fields in line 3, saw 3"):
            read_file(write_text("rows.csv", "text,label\na,b\na,b,c\n"), ["text"])


class TestReadDataset:
    @pytest.fixture
    def write_splits(self, write_text, tmp_path):
        """Return a function that writes a dataset of two splits and returns its folder."""

        def write(suffix, train, test):
            (tmp_path / "data").mkdir()
            write_text(f"data/train.{suffix}", train)
            write_text(f"data/test.{suffix}", test)
            return str(tmp_path / "data")

        return write

    def test_csv_files_are_read_as_they_are(self, write_splits):
        splits = read_dataset(write_splits("csv", "text,label\n007,NA\n", "text,label\n01,true\n"))
        assert splits["train"][:] == {"text": ["007"], "label": ["NA"]}
        assert splits["test"][:] == {"text": ["01"], "label": ["true"]}

    def test_json_files_are_read_as_they_are(self, write_splits):
        splits = read_dataset(write_splits("json", '{"text": "2020-01-01"}\n', '{"text": "2021-01-01"}\n'))
        assert splits["train"]["text"][:] == ["2020-01-01"]
        assert splits["test"]["text"][:] == ["2021-01-01"]

    def test_types_that_a_dataset_declares_count(self, write_splits, write_text):
        folder = write_splits("csv", "text,label\na,1\n", "text,label\nb,0\n")
        columns = "  - name: text\n    dtype: string\n  - name: label\n    dtype: int64\n"
        write_text("data/README.md", f"---\ndataset_info:\n  features:\n{columns}---\n")
        assert read_dataset(folder)["train"]["label"][:] == [1]


@pytest.mark.slow
def test_needs_only_the_core_dependencies(tmp_path):
    (tmp_path / "rows.csv").write_text("text\nNA\n")
    program = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('evaluate', 'scipy', 'sklearn', 'seqeval'))  # as if they were not installed\n"
        "from wave_hf.training.readers import read_file\n"
        f"assert read_file({str(tmp_path / 'rows.csv')!r}, ['text'])['text'][:] == ['NA']\n"
        "import wave_hf.training.data\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
