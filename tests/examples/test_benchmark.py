"""Tests of the benchmark of the training step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "examples" / "benchmark.py"


@pytest.mark.slow
def test_measures_every_recipe_beside_the_baselines(tmp_path):
    sizes = {"batch_size": 2, "sequence_length": 8, "steps": 1, "seconds": 0, "repetitions": 1}
    options = [argument for name, value in sizes.items() for argument in (f"--{name}", str(value))]
    command = [sys.executable, str(BENCHMARK), *options, "--output_file", str(tmp_path / "out.json")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    models = json.loads((tmp_path / "out.json").read_text())["models"]
    assert {"BERT-base", "FNet-base", "wave-small", "paper-modulation", "paper-interference"} <= models.keys()
    assert models["BERT-base"]["parameters"] == pytest.approx(109.5e6, rel=0.01)
    assert all(model["step_ms"] > 0 for model in models.values())
    assert models["paper-modulation"]["peak_memory_mb"] < models["BERT-base"]["peak_memory_mb"]
    assert all(f"| {name} |" in printed for name in models)
