"""The command writes a complete and correct report, or ends with one line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders import BARE_TOKENIZER, LABELS, OPERATIONS, TEXTS, save_classifier, tiny_config, tiny_model, write_rows
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from transformers import BertConfig, BertForSequenceClassification

pytest.importorskip("matplotlib")

from wave_hf.analysis.__main__ import main
from wave_hf.analysis.report import shapes

FIGURES = [
    "complexity",
    "convergence",
    "decision",
    "gradients",
    "independence",
    "interference",
    "magnitudes",
    "phases",
]
ACCURACIES = ["50%", "60%", "70%", "80%", "90%"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A classifier, rows, and the config of a BERT."""
    folder = tmp_path_factory.mktemp("inputs")
    save_classifier(folder / "waves", max_position_embeddings=16)
    BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8).save_pretrained(
        folder / "bert"
    )
    write_rows(folder / "rows.csv", text=TEXTS * 8, label=["$yes$ or $", "no", "$yes$ or $", "no", "no"] * 8)
    return folder


@pytest.fixture(scope="module")
def folder(inputs):
    command = [sys.executable, "-m", "wave_hf.analysis", "waves", "--data", "rows.csv", "--out", "out"]
    options = ["--bert_config", "bert", "--steps", "10", "--batch_size", "4", "--text", "one wave and two oceans"]
    subprocess.run(command + options, cwd=inputs, check=True, capture_output=True)
    return inputs / "out"


@pytest.mark.slow
class TestReport:
    def test_holds_text_numbers_and_figures(self, folder):
        names = ["report.md", "results.json", *(f"{name}.png" for name in FIGURES)]
        assert sorted(file.name for file in folder.iterdir()) == sorted(names)
        assert [file.name for file in folder.parent.iterdir() if file.name.startswith(".")] == []

    def test_refers_to_each_figure_with_a_caption(self, folder):
        text = (folder / "report.md").read_text()
        figures = re.findall(r"!\[\w+\]\((\w+)\.png\)\n\n\*\*Figure (\d)\.\*\* [A-Z][^\n]{20,}\.\n", text)
        assert sorted(name for name, _ in figures) == FIGURES
        assert [int(number) for _, number in figures] == list(range(1, 9))
        assert "> one wave and two oceans" in text
        assert "the same 10 batches of 4 texts, truncated to 16 tokens" in text
        assert "36 training and 4 validation rows" in text

    def test_numbers_are_those_of_the_networks(self, folder):
        results = json.loads((folder / "results.json").read_text())
        assert set(results["convergence"]) == set(results["gradients"]) == {"interference", "modulation", "BERT"}
        for curves in results["convergence"].values():
            assert [step for step, _ in curves["accuracy"]] == list(range(1, 11))
            assert list(curves["steps_to_accuracy"]) == ACCURACIES
        assert [len(history) for history in results["gradients"].values()] == [10, 10, 10]
        shares, *gradients = results["decision"]
        assert sum(shares["values"]) + shares["bias"] == pytest.approx(shares["logit"], abs=1e-5)
        assert shares["label"] in LABELS
        assert [entry["network"] for entry in gradients] == ["the model", "BERT"]
        assert all(entry["completeness_gap"] < 0.01 for entry in gradients)
        tables = results["independence"]["token table"]
        assert set(tables) == {"the model", "interference", "modulation", "BERT"}
        assert tables["BERT"]["before"] != tables["BERT"]["after"]
        parameters = results["complexity"]["BERT"]["32"]["parameters"]
        assert parameters == results["convergence"]["BERT"]["parameters"]
        assert len(results["waves"]["layers"]) == 1


def test_networks_are_made_for_the_labels_of_the_rows():
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABELS)})
    rows = DatasetDict(train=Dataset.from_dict({"text": TEXTS, "label": [0, 1, 2, 0, 1]}, features))
    wave = tiny_config(num_labels=1, problem_type="regression", num_hidden_layers=2, wave_operation=OPERATIONS)
    networks = shapes(wave, BertConfig(), rows)
    assert list(networks) == ["interference", "modulation", "BERT"]
    for name, config in networks.items():
        assert list(config.id2label.values()) == LABELS
        assert config.num_labels == 3
        assert config.problem_type == "single_label_classification"
        assert config.vocab_size == wave.vocab_size
        if name != "BERT":
            assert {config.layer_operation(layer_idx) for layer_idx in range(2)} == {name}
    assert wave.problem_type == "regression"


class TestRefusals:
    def refuse(self, monkeypatch, tmp_path, model_dir, message, *options):
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", ["analysis", str(model_dir), "--out", str(out), *options])
        with pytest.raises(SystemExit, match=f"^Analysis of {model_dir}: [^\n]*{message}[^\n]*$"):
            main()
        assert not out.exists()

    def test_other_architecture(self, inputs, tmp_path, monkeypatch):
        config = BertConfig.from_pretrained(inputs / "bert", vocab_size=8)
        BertForSequenceClassification(config).save_pretrained(tmp_path)
        self.refuse(monkeypatch, tmp_path, tmp_path, "model_type of config.json is 'bert'")

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_impossible_seed(self, inputs, tmp_path, monkeypatch, seed):
        self.refuse(monkeypatch, tmp_path, inputs / "waves", f"--seed is {seed}", "--seed", str(seed))

    def test_no_tokenizer(self, tmp_path, monkeypatch):
        tiny_model().save_pretrained(tmp_path)
        self.refuse(monkeypatch, tmp_path, tmp_path, "tokenizer.json")

    @pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:200])])
    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_damaged_files(self, name, damage, tmp_path, monkeypatch):
        save_classifier(tmp_path)
        damage(tmp_path / name)
        self.refuse(monkeypatch, tmp_path, tmp_path, "")

    def test_text_of_one_token(self, inputs, tmp_path, monkeypatch):
        save_classifier(tmp_path)
        BARE_TOKENIZER.save_pretrained(tmp_path)
        options = ["--data", str(inputs / "rows.csv"), "--text", "wave"]
        self.refuse(monkeypatch, tmp_path, tmp_path, "text is 'wave': its number of tokens is 1", *options)

    def test_config_that_is_not_of_a_bert(self, inputs, tmp_path, monkeypatch):
        options = ["--data", str(inputs / "rows.csv"), "--bert_config", str(inputs / "waves")]
        self.refuse(
            monkeypatch, tmp_path, inputs / "waves", "model_type is 'wave_network', but should be 'bert'", *options
        )

    def test_rows_without_labels(self, inputs, tmp_path, monkeypatch):
        options = ["--data", write_rows(tmp_path / "texts.csv", text=TEXTS)]
        self.refuse(monkeypatch, tmp_path, inputs / "waves", "there is no column label, but text", *options)
