"""Tests that the README's Python does what it says."""

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_code_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    code = "\n".join(block for block in blocks if "onnxruntime" not in block)  # which test_export.py runs
    names: dict = {}
    exec(compile(code, README.name, "exec"), names)

    assert names["real"].shape == names["imag"].shape == (2, 10, 64)
    assert names["hidden_states"].shape == (2, 10, 64)
    # The folder holds what was trained, and what was trained is better than a guess.
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "waves")
    assert loaded.config.id2label == names["config"].id2label
    rows = names["corpus"]["validation"].select(range(512))
    batch = names["tokenizer"](list(rows["text"]), padding=True, return_tensors="pt")
    with torch.no_grad():
        predictions = loaded(**batch).logits.argmax(dim=-1)
    assert (predictions == torch.tensor(rows["label"])).float().mean() > 0.5
