"""Input files are checked, and output is written as a whole or not at all."""

import pytest
import torch
from builders import TEXTS, TOKENIZER, save_classifier, tiny_config, tiny_model, write_rows
from transformers import BertConfig, BertForSequenceClassification

from wave_hf import WaveForTokenClassification, WaveModel
from wave_hf.files import check_tokenizer_fits, load_classifier, load_rows, markdown_table, new_folder, writing


class TestClassifiers:
    def refuse(self, folder, error, message):
        with pytest.raises(error, match=message):
            load_classifier(str(folder))

    def test_are_loaded_with_their_tokenizer_to_be_used(self, tmp_path):
        saved = save_classifier(tmp_path)
        model, tokenizer = load_classifier(str(tmp_path))
        assert not model.training
        torch.testing.assert_close(model.classifier.weight, saved.classifier.weight)
        assert len(tokenizer) == model.config.vocab_size

    def test_other_architecture(self, tmp_path):
        config = BertConfig(
            vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        )
        BertForSequenceClassification(config).save_pretrained(tmp_path)
        self.refuse(tmp_path, ValueError, "model_type of config.json is 'bert', but should be 'wave_network'")

    @pytest.mark.parametrize("model_class", [WaveModel, WaveForTokenClassification])
    def test_network_with_another_head_or_none(self, model_class, tmp_path):
        save_classifier(tmp_path, model_class=model_class)
        message = f"architecture of config.json is {model_class.__name__}, but should be WaveForSequenceClassification"
        self.refuse(tmp_path, ValueError, message)

    def test_no_tokenizer(self, tmp_path):
        tiny_model().save_pretrained(tmp_path)
        self.refuse(tmp_path, OSError, r"tokenizer\.json")

    def test_tokenizer_larger_than_the_token_table(self, tmp_path):
        save_classifier(tmp_path)
        tiny_model(vocab_size=9).save_pretrained(tmp_path)
        self.refuse(tmp_path, ValueError, r"the tokenizer has ids up to \d+, but the token table has only 9 rows")


def test_a_tokenizer_fits_a_table_with_a_row_for_each_token():
    check_tokenizer_fits(TOKENIZER, tiny_config(vocab_size=len(TOKENIZER)), "waves")
    message = "waves: the tokenizer has ids up to 14, but the token table has only 14 rows"
    with pytest.raises(ValueError, match=message):
        check_tokenizer_fits(TOKENIZER, tiny_config(vocab_size=len(TOKENIZER) - 1), "waves")


class TestRows:
    def test_are_read(self, tmp_path):
        rows = load_rows(write_rows(tmp_path / "rows.csv", text=TEXTS, label=[1, 2, 3, 4, 5]), ("text", "label"))
        assert list(rows["text"]) == TEXTS
        assert list(rows["label"]) == [1, 2, 3, 4, 5]

    def test_only_empty_cells_are_missing(self, tmp_path):
        rows = load_rows(write_rows(tmp_path / "rows.csv", text=["NA", "null"], label=["None", ""]), ["text"])
        assert rows.to_list() == [{"text": "NA", "label": "None"}, {"text": "null", "label": None}]

    def test_lack_a_column(self, tmp_path):
        file = write_rows(tmp_path / "rows.csv", sentence=TEXTS)
        with pytest.raises(ValueError, match=r"rows\.csv should have a text in each row, in a column named 'text'"):
            load_rows(file, ("text",))

    def test_lack_a_value(self, tmp_path):
        file = write_rows(tmp_path / "rows.csv", text=TEXTS, label=["sea", "", "sea", "air", "sea"])
        with pytest.raises(ValueError, match=r"rows\.csv should have a label in each row, in a column named 'label'"):
            load_rows(file, ("text", "label"))

    def test_other_files(self, tmp_path):
        with pytest.raises(ValueError, match=r"rows\.txt is neither a \.csv nor a \.json file"):
            load_rows("rows.txt", ("text",))
        with pytest.raises(FileNotFoundError, match=r"rows\.json does not exist"):
            load_rows(str(tmp_path / "rows.json"), ("text",))


class TestWriting:
    def test_file_is_the_older_one_until_all_is_written(self, tmp_path):
        file = tmp_path / "report.md"
        file.write_text("older")
        with writing(file) as stream:
            stream.write("new")
            assert file.read_text() == "older"
        assert file.read_text() == "new"
        assert list(tmp_path.iterdir()) == [file]

    def test_file_is_the_older_one_if_the_work_fails(self, tmp_path):
        file = tmp_path / "report.md"
        file.write_text("older")

        def fail():
            with writing(file) as stream:
                stream.write("half")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert file.read_text() == "older"
        assert list(tmp_path.iterdir()) == [file]


def test_markdown_table():
    table = markdown_table(["name", "accuracy"], [["waves", "91.5%"], ["surf", 7]])
    assert table.splitlines() == ["| name | accuracy |", "| --- | --- |", "| waves | 91.5% |", "| surf | 7 |"]


class TestNewFolder:
    def test_appears_with_all_that_was_written(self, tmp_path):
        for folder in (tmp_path / "new", tmp_path / "not" / "there"):
            with new_folder(folder) as unfinished:
                (unfinished / "file").write_text("whole")
                assert not folder.exists()
            assert (folder / "file").read_text() == "whole"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "not"]

    def test_may_be_there_if_it_is_empty(self, tmp_path):
        with new_folder(tmp_path) as unfinished:
            (unfinished / "file").touch()
        assert [file.name for file in tmp_path.iterdir()] == ["file"]

    def test_is_not_there_if_the_work_fails(self, tmp_path):
        def fail():
            with new_folder(tmp_path / "new") as unfinished:
                (unfinished / "file").write_text("half")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert list(tmp_path.iterdir()) == []

    def test_is_not_one_that_holds_files(self, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match=f"{tmp_path} is not empty"), new_folder(tmp_path):
            pass
        assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
