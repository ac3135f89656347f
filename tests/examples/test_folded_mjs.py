"""The reader in JavaScript: the logits of the network, for every form of the folder."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from builders import LABELS, TEXTS, save_classifier
from numpy.testing import assert_allclose
from transformers import AutoTokenizer

from wave_hf.folding import fold

READER = Path(__file__).parents[2] / "examples" / "folded.mjs"

# Prints the logits and the label of each text or pair.
PREDICT = """
import { FoldedWave } from "./folded.mjs";
const model = new FoldedWave(process.argv[2]);
const texts = JSON.parse(process.argv[3]);
console.log(JSON.stringify(texts.map((text) => [[...model.logits(...text)], model.predict(...text)])));
"""

NETWORKS = {
    "bag": {},
    "order": {"variant_kernel_size": 3, "scale_waves": True},
    "all of it": {"variant_kernel_size": 5, "residual": True, "embedding_size": 4, "type_vocab_size": 2},
    "interference": {"wave_operation": "interference", "readout": "magnitude", "scale_waves": True},
    "pairs read separately": {"pair_encoding": "separate", "readout": "real", "type_vocab_size": 2},
    "several labels": {"problem_type": "multi_label_classification"},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A folder with the reader and its one package."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "@huggingface/tokenizers@0.2"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install @huggingface/tokenizers: {installed.stderr.strip()[-200:]}")
    shutil.copy(READER, folder)
    (folder / "predict.mjs").write_text(PREDICT)
    return folder


def predict(node, folder, texts):
    command = ["node", "predict.mjs", str(folder), json.dumps([[*text] for text in texts])]
    done = subprocess.run(command, cwd=node, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zip(*json.loads(done.stdout), strict=True)


def test_has_at_most_100_lines():
    assert len(READER.read_text().splitlines()) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_the_network(node, name, tmp_path):
    fields = {"final_norm": "pooled", "hidden_size": 16} | NETWORKS[name]
    model = save_classifier(tmp_path / "checkpoint", **fields)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
    fold(tmp_path / "checkpoint").save(tmp_path / "folded")
    texts = [(text,) for text in [*TEXTS, "", "waves " * 50]] + [(TEXTS[0], TEXTS[1]), ("", TEXTS[2])]
    with torch.no_grad():
        expected = torch.cat([model(**tokenizer(*text, return_tensors="pt")).logits for text in texts])
    logits, labels = predict(node, tmp_path / "folded", texts)
    assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    if model.config.problem_type == "multi_label_classification":
        assert list(labels) == [[LABELS[i] for i in row.nonzero().flatten()] for row in expected > 0]
    else:
        assert list(labels) == [LABELS[i] for i in expected.argmax(-1)]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_tables_are_those_of_python(node, dtype, tmp_path):
    save_classifier(tmp_path / "checkpoint", final_norm="pooled", hidden_size=16)
    folded = fold(tmp_path / "checkpoint", dtype=dtype)
    folded.save(tmp_path / "folded")
    logits, labels = predict(node, tmp_path / "folded", [(text,) for text in TEXTS])
    assert_allclose(logits, folded.logits(TEXTS), rtol=1e-4, atol=1e-4)
    assert list(labels) == folded.predict(TEXTS)
