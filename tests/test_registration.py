"""Tests that transformers finds the classes: after `import wave_hf`, or with the code in a saved folder."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from builders import (
    ALL_PARTS,
    AUTO_CLASSES,
    CHECKPOINTS,
    LABELS,
    SAME,
    TEXTS,
    head_inputs,
    save_classifier,
    tiny_config,
    tiny_model,
)
from torch.testing import assert_close
from transformers import AutoConfig, AutoModel, pipeline

import wave_hf
from wave_hf import WaveConfig, WaveForMaskedLM, WaveForSequenceClassification, WaveForTokenClassification, WaveModel

CODE = ["configuration_wave.py", "modeling_wave.py", "streaming.py", "waves.py"]

# Without this package, load a folder, train for a step, save to another folder, and print the results.
STRANGER = """
import json, sys
sys.modules["wave_hf"] = None  # from here on, importing it fails
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

folder, other_folder = sys.argv[1:]
seen = {}
try:
    AutoModelForSequenceClassification.from_pretrained(folder)
except ValueError as error:
    seen["refusal"] = str(error)

inputs = {"input_ids": torch.arange(12).view(2, 6)}
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
seen["logits"] = model(**inputs).logits.tolist()
seen["pooled"] = AutoModel.from_pretrained(folder, trust_remote_code=True)(**inputs).pooler_output.tolist()

model(**inputs, labels=torch.tensor([0, 1])).loss.backward()
torch.optim.SGD(model.parameters(), lr=0.1).step()
seen["logits after training"] = model(**inputs).logits.tolist()
model.save_pretrained(other_folder)
print()  # transformers asked for trust on the line before
print(json.dumps(seen))
"""

# Without this package, load every head from a folder of its own, and print the outputs.
STRANGER_TO_THE_HEADS = """
import json, sys
sys.modules["wave_hf"] = None
from pathlib import Path
import torch, transformers

seen = {}
for folder in Path(sys.argv[1]).iterdir():
    model = getattr(transformers, folder.name).from_pretrained(folder, trust_remote_code=True)
    inputs = json.loads((folder / "inputs.json").read_text())
    seen[folder.name] = model(**{name: torch.tensor(rows) for name, rows in inputs.items()})[0].tolist()
print()
print(json.dumps(seen))
"""


# Without this package, load a checkpoint of an older version with its own code, and print the logits.
STRANGER_TO_OLD_CODE = """
import json, sys
sys.modules["wave_hf"] = None
import torch
from transformers import AutoModelForSequenceClassification

model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
inputs = json.load(open(sys.argv[1] + "/logits.json"))["inputs"]
print()
print(json.dumps(model(**{name: torch.tensor(rows) for name, rows in inputs.items()}).logits.tolist()))
"""


@pytest.mark.parametrize(("auto_class", "model_class"), AUTO_CLASSES.items())
class TestAutoClasses:
    def test_build_from_a_config(self, auto_class, model_class):
        assert type(auto_class.from_config(tiny_config())) is model_class

    @pytest.mark.parametrize("trust_remote_code", [None, True])
    def test_load_the_installed_classes(self, auto_class, model_class, trust_remote_code, tmp_path):
        model_class(tiny_config()).save_pretrained(tmp_path)
        assert type(AutoConfig.from_pretrained(tmp_path)) is WaveConfig
        assert type(auto_class.from_pretrained(tmp_path, trust_remote_code=trust_remote_code)) is model_class


def test_public_names_of_0_1_0_can_still_be_imported():
    (folder,) = (folder for folder in CHECKPOINTS if folder.name == "v0.1.0")
    code = ast.parse((folder / "modeling_wave.py").read_text(encoding="utf-8"))
    (names,) = (
        ast.literal_eval(statement.value)
        for statement in code.body
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "__all__"
    )
    assert {*names, "WaveConfig", "train_tokenizer"} <= set(wave_hf.__all__)
    assert set(names) <= set(dir(wave_hf.modeling_wave))


def test_importing_again_does_no_harm():
    importlib.reload(wave_hf)
    assert type(AutoModel.from_config(tiny_config())) is WaveModel


@pytest.mark.parametrize("model_class", AUTO_CLASSES.values())
def test_saving_copies_the_code_and_writes_the_auto_map(model_class, tmp_path):
    model_class(tiny_config()).save_pretrained(tmp_path)
    package = Path(wave_hf.__file__).parent
    assert sorted(path.name for path in tmp_path.glob("*.py")) == CODE
    assert all((tmp_path / file).read_text() == (package / file).read_text() for file in CODE)
    auto_map = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert auto_map.keys() == {"AutoConfig", *(auto_class.__name__ for auto_class in AUTO_CLASSES)}


@pytest.fixture
def visit(tmp_path):
    """Return a function that runs a script in a process of its own, and returns the JSON that it prints."""

    def run(script, *folders):
        home = {"HF_HOME": str(tmp_path / "home"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
        result = subprocess.run(
            [sys.executable, "-I", "-c", script, *folders],
            cwd=tmp_path,
            env=os.environ | home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    return run


@pytest.mark.slow
def test_saved_folder_loads_without_the_package(visit, tmp_path):
    model, input_ids = tiny_model(**ALL_PARTS), torch.arange(12).view(2, 6)
    model.save_pretrained(tmp_path / "first")
    seen = visit(STRANGER, tmp_path / "first", tmp_path / "second")
    assert "trust_remote_code=True" in seen["refusal"]
    assert_close(torch.tensor(seen["logits"]), model(input_ids).logits)
    assert_close(torch.tensor(seen["pooled"]), model.wave(input_ids).pooler_output)

    trained = torch.tensor(seen["logits after training"])
    assert not torch.allclose(trained, torch.tensor(seen["logits"]))
    seen_later = visit(STRANGER, tmp_path / "second", tmp_path / "third")
    assert_close(torch.tensor(seen_later["logits"]), trained)
    assert_close(WaveForSequenceClassification.from_pretrained(tmp_path / "second")(input_ids).logits, trained)


@pytest.mark.slow
def test_saved_folder_of_any_head_loads_without_the_package(visit, tmp_path):
    expected = {}
    for auto_class, head in AUTO_CLASSES.items():
        if head is WaveModel:
            continue
        model, name = tiny_model(**ALL_PARTS, model_class=head), auto_class.__name__
        inputs = head_inputs(model, input_ids=torch.arange(12).view(2, 6))
        model.save_pretrained(tmp_path / "heads" / name)
        rows = {key: value.tolist() for key, value in inputs.items()}
        (tmp_path / "heads" / name / "inputs.json").write_text(json.dumps(rows))
        expected[name] = model(**inputs)[0].detach()
    seen = visit(STRANGER_TO_THE_HEADS, tmp_path / "heads")
    assert_close({name: torch.tensor(seen[name]) for name in expected}, expected)


@pytest.mark.slow
@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.name)
def test_code_of_an_older_version_still_runs(visit, folder):
    expected = json.loads((folder / "logits.json").read_text())["logits"]
    assert_close(torch.tensor(visit(STRANGER_TO_OLD_CODE, folder)), torch.tensor(expected), **SAME)


def test_pipeline_classifies_texts(tmp_path):
    texts = ["one wave", "two waves on two oceans", "an ocean of waves"]
    tokenizer = wave_hf.train_tokenizer(texts, vocab_size=60)
    labels = {"id2label": {0: "calm", 1: "storm"}, "label2id": {"calm": 0, "storm": 1}}
    model = tiny_model(WaveConfig(vocab_size=len(tokenizer), hidden_size=8, **labels))
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)

    classify = pipeline("text-classification", model=str(tmp_path))
    results = classify(texts, batch_size=3, top_k=None)
    for text, scores in zip(texts, results, strict=True):
        probabilities = model(**tokenizer(text, return_tensors="pt")).logits.softmax(dim=-1)[0]
        expected = dict(zip(["calm", "storm"], probabilities.tolist(), strict=True))
        assert {score["label"]: score["score"] for score in scores} == pytest.approx(expected, abs=1e-5)


def test_pipeline_fills_masks(tmp_path):
    model = save_classifier(tmp_path, WaveForMaskedLM, local_kernel_size=3)
    fill = pipeline("fill-mask", model=str(tmp_path))
    batch = fill.tokenizer("one [MASK] of waves", return_tensors="pt")
    (expected,) = model(**batch).logits[batch["input_ids"] == fill.tokenizer.mask_token_id].softmax(dim=-1)
    best = fill("one [MASK] of waves")[0]
    assert (best["score"], best["token"]) == (pytest.approx(expected.max().item()), expected.argmax().item())


def test_pipeline_labels_tokens(tmp_path):
    model = save_classifier(tmp_path, WaveForTokenClassification)
    label = pipeline("token-classification", model=str(tmp_path), ignore_labels=[])
    logits = model(**label.tokenizer(TEXTS[0], return_tensors="pt")).logits[0, 1:-1]  # between [CLS] and [SEP]
    assert [token["entity"] for token in label(TEXTS[0])] == [LABELS[label] for label in logits.argmax(dim=-1)]
