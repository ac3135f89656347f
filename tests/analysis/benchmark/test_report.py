"""The report of the benchmark: exponents, ratios and the cases left out."""

import json

import pytest

pytest.importorskip("matplotlib")

from wave_hf.analysis.benchmark.report import report

from .test_measure import QUANTITIES


@pytest.fixture
def results():
    """Return measurements of a model whose cost grows with the 1.5th power of the length, and of a linear one."""

    def row(model, length, cost):
        quantities = (*QUANTITIES, "training_memory_above_idle_mb", "inference_memory_above_idle_mb")
        return {"model": model, "length": length, **dict.fromkeys(quantities, cost)}

    rows = [row("attention", length, length**1.5) for length in (16, 64)]
    rows += [row("wave", length, length / 8) for length in (16, 64, 256)]
    arguments = {
        "models": ["attention", "wave"],
        "batch_size": 2,
        "inference_batch_size": 3,
        "max_baseline_length": 64,
    }
    left_out = [("attention", 256)]
    return {"machine": "a machine", "arguments": arguments, "models": rows, "left_out": left_out}


def test_exponents_are_fitted_to_the_lengths(results, tmp_path):
    printed = report(results, str(tmp_path))
    for name, exponent in {"attention": 1.5, "wave": 1.0}.items():
        assert list(results["exponents"][name].values()) == [pytest.approx(exponent)] * 5
    assert "| attention, 16 to 64 tokens | 1.50 |" in printed
    assert "| wave, 16 to 256 tokens | 1.00 |" in printed
    assert json.loads((tmp_path / "results.json").read_text())["exponents"] == results["exponents"]


def test_models_are_compared_with_the_first_one_at_the_same_length(results):
    training = [line for line in report(results, None).splitlines() if line.startswith("| wave |")][:3]
    ratios = [line.split(" | ")[5] for line in training]
    assert ratios == ["3.1%", "1.6%", "-"]  # 2 of 64, 8 of 512; the first one was left out at 256
    assert "attention at 256" in report(results, None)


def test_names_of_models_are_shown_as_they_are(results, tmp_path):
    for row in results["models"]:
        row["model"] = {"wave": "$wave|s$", "attention": "<b>"}[row["model"]]
    results["arguments"]["models"] = ["<b>", "$wave|s$"]
    printed = report(results, str(tmp_path))
    assert "| &#36;wave&#124;s&#36;, 16 to 256 tokens | 1.00 |" in printed
    assert (tmp_path / "growth.png").exists()


def test_one_length_has_no_exponents(results, tmp_path):
    results["models"] = [row for row in results["models"] if row["length"] == 64]
    assert "to the power of" not in report(results, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.md", "results.json"]
