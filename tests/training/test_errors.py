"""Errors that end a script with one line."""

import errno
import itertools
import json
from typing import Any

import pytest
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from wave_hf import WaveConfig, train_tokenizer
from wave_hf.training.errors import exit_on_error, exit_on_full_disk


def fail(error: Exception) -> None:
    raise error


class TestExitOnError:
    def line(self, function: Any, *args: Any) -> str:
        with pytest.raises(SystemExit) as error, exit_on_error("Thing"):
            function(*args)
        assert error.value.code.startswith("Thing: ")
        assert "\n" not in error.value.code
        return error.value.code

    def test_tokenizers_raises_plain_exceptions(self):
        assert "line 1 column 1" in self.line(Tokenizer.from_str, "{")

    @pytest.mark.parametrize(
        ("file", "content"),
        [
            *itertools.product(["tokenizer.json"], ["", "{", "[]", "{}", '{"model": 1}', "\N{SNOWMAN}"]),
            *itertools.product(["tokenizer_config.json"], ["", "{", "[]", "1", "\N{SNOWMAN}"]),
        ],
    )
    def test_damaged_tokenizer(self, tmp_path, file, content):
        train_tokenizer(["a wave"]).save_pretrained(tmp_path)
        (tmp_path / file).write_text(content, encoding="utf-8")
        self.line(AutoTokenizer.from_pretrained, tmp_path)

    @pytest.mark.parametrize("fields", [{"id2label": ["a", "b"]}, {"hidden_size": "wide"}, {"id2label": 3}])
    def test_wrong_config(self, tmp_path, fields):
        WaveConfig().save_pretrained(tmp_path)
        content = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(content | fields))
        self.line(WaveConfig.from_pretrained, tmp_path)

    def test_messages_that_are_but_a_name_are_explained(self):
        assert self.line(fail, KeyError("text")) == "Thing: KeyError: 'text'"
        assert self.line(fail, AttributeError("no attribute 'get'")) == "Thing: AttributeError: no attribute 'get'"
        assert self.line(fail, ValueError("too\n  long")) == "Thing: too long"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_keyboard_and_exits_are_no_errors(self, error):
        raised = error()
        with pytest.raises(error) as seen, exit_on_error("Thing"):
            raise raised
        assert seen.value is raised


class TestExitOnFullDisk:
    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            Exception("No space left on device (os error 28)"),
        ],
    )
    def test_is_one_line(self, tmp_path, error):
        with pytest.raises(SystemExit, match=f"^{tmp_path}: no space is left"), exit_on_full_disk(str(tmp_path)):
            raise error

    @pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), RuntimeError("shapes")])
    def test_other_errors_stay_as_they_are(self, tmp_path, error):
        with pytest.raises(type(error)) as raised, exit_on_full_disk(str(tmp_path)):
            raise error
        assert raised.value is error
