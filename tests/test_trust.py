# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""A folder's code does not run unless the user passes --trust_remote_code, and nobody is asked on the terminal."""

import json
import sys
from pathlib import Path

import compare_accuracy
import demo
import pytest
from builders import save_classifier

from wave_hf.analysis.benchmark import preparation
from wave_hf.analysis.benchmark.measure import Conditions, load_config
from wave_hf.analysis.report import load_bert_config
from wave_hf.export import export
from wave_hf.training import loading
from wave_hf.training.arguments import ModelArguments
from wave_hf.transplant import load_wave_config, transplant

CODE = """
from pathlib import Path
from transformers import PreTrainedConfig
Path(__file__).with_name("ran").touch()
Path({marker!r}).touch()
class Config(PreTrainedConfig):
    model_type = "mine"
"""


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that appears when the code of the folder runs; a question on the terminal would be answered with yes."""
    monkeypatch.setattr("builtins.input", lambda *prompt: "y")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path / "the-code-ran"


def folder_of_code(folder: Path, marker: Path, **files: dict) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(CODE.format(marker=str(marker)))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


CONFIG = {"model_type": "mine", "auto_map": dict.fromkeys(("AutoConfig", "AutoModel"), "mine.Config")}
TOKENIZER = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Config", None]}}
LOADS = {
    "comparison of encoders": lambda folder, out: compare_accuracy.save_layer_on_embeddings(folder, out),
    "benchmark": lambda folder, out: load_config(folder, 8, Conditions()),
    "encoder of the benchmark": lambda folder, out: preparation.save_encoder(folder, [], [], Path(folder)),
    "exported encoder of the benchmark": lambda folder, out: preparation.save_encoder_onnx(
        folder, [], [], Path(folder)
    ),
    "analysis": lambda folder, out: load_bert_config(folder),
    "export": lambda folder, out: export(folder, out),
    "folding": lambda folder, out: export(folder, out, format="folded"),
    "transplant from an encoder": lambda folder, out: transplant(folder, out, frequency_weights=False),
    "transplant of a config": lambda folder, out: load_wave_config(folder),
    "demo": lambda folder, out: demo.load(folder),
    "config of a script": lambda folder, out: loading.load_config(ModelArguments(model_name_or_path=folder)),
}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_code_of_a_model_is_not_run(load, marker, tmp_path):
    folder = folder_of_code(tmp_path / "code", marker, config=CONFIG, tokenizer_config=TOKENIZER)
    with pytest.raises((SystemExit, ValueError, OSError)):
        load(folder, tmp_path / "out")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["export", "folding", "transplant from an encoder", "demo"])
def test_code_of_a_tokenizer_is_not_run(name, marker, tmp_path):
    save_classifier(tmp_path / "code")
    (tmp_path / "code" / "tokenizer.json").unlink()
    folder = folder_of_code(tmp_path / "code", marker, tokenizer_config=TOKENIZER)
    with pytest.raises((SystemExit, ValueError, OSError)):
        LOADS[name](folder, tmp_path / "out")
    assert not marker.exists()
