"""Tests of the benchmark: what it measures, in which order, and what it reports; never how long something takes."""

import itertools
import json
import os

import benchmark
import benchmark_cases
import pytest
import torch
from benchmark_cases import BASELINES, Conditions, load_config, measure_model, time_in_turns
from benchmark_report import report
from transformers import AutoModelForSequenceClassification

TINY = {"batch_size": 2, "inference_batch_size": 2, "steps": 1, "seconds": 0}
QUANTITIES = ("parameters", "parameters_outside_token_table", "step_ms", "forward_backward_ms", "optimizer_ms")
QUANTITIES += ("first_step_ms", "training_memory_mb", "latency_ms", "texts_per_second", "inference_memory_mb")


@pytest.mark.slow
def test_measures_models_beside_each_other_over_lengths(command_line, capsys, tmp_path):
    lists = ("--lengths", 8, 16, "--models", "baselines/fnet", "wave-cola")
    options = {"repetitions": 1, "max_baseline_length": 8, "measure": "models", "output_dir": tmp_path / "out"}
    command_line(*lists, **TINY, **options)
    benchmark.main()

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    cases = [("baselines/fnet", 8), ("wave-cola", 8), ("wave-cola", 16)]
    assert [(row["model"], row["length"]) for row in results["models"]] == cases
    assert results["left_out"] == [["baselines/fnet", 16]]
    for row in results["models"]:
        assert row["step_ms"] == pytest.approx(row["forward_backward_ms"] + row["optimizer_ms"])
        assert row["training_memory_mb"] >= row["inference_memory_mb"] >= results["idle_memory_mb"]
    assert results["exponents"].keys() == {"wave-cola"}
    assert (tmp_path / "out" / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
def test_measures_the_operations_beside_their_yardsticks(command_line, capsys):
    command_line(**TINY, lengths=8, measure="operations")
    benchmark.main()
    printed = capsys.readouterr().out
    assert "| modulation | complex tensors |" in printed
    assert "| interference | complex tensors |" in printed
    assert "| paper-modulation | its matrix products alone |" in printed


@pytest.mark.slow
def test_measures_the_kinds_of_token_tables_beside_each_other(command_line, capsys):
    command_line(**TINY, lengths=8, measure="tables")
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith(("| 30000 ", "| 300000 "))]
    assert [len(row) for row in rows] == [6, 6]
    assert all(float(cell) > 0 for row in rows for cell in row)


@pytest.mark.slow
def test_measures_texts_that_are_read_piece_by_piece(command_line, tmp_path):
    command_line("--lengths", 15_000, 20_000, measure="streams", output_dir=tmp_path / "out")
    benchmark.main()
    streams = json.loads((tmp_path / "out" / "results.json").read_text())["streams"]
    assert list(streams) == ["15000", "20000"]
    for measured in streams.values():
        # 0 where the process that starts the measurement, this one, has had more memory than is needed.
        assert 0 <= measured["classify_memory_above_idle_mb"] <= measured["train_memory_above_idle_mb"]
        assert min(measured["classify_ms"], measured["train_ms"]) > 0
    lines = (tmp_path / "out" / "report.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[-2:]] == ["| 15000", "| 20000"]


def test_models_take_turns_and_their_median_counts(command_line, capsys, monkeypatch):
    order = []

    def measured(measure, *arguments):
        if measure is benchmark_cases.measure_idle:
            return 0.0
        order.append(arguments[0])
        return dict.fromkeys(QUANTITIES, [7.0, 1.0, 2.0][order.count(arguments[0]) - 1])

    monkeypatch.setattr(benchmark, "in_own_process", measured)
    command_line("--models", "wave-cola", "wave-pair", measure="models", repetitions=3)
    benchmark.main()
    assert order == ["wave-cola", "wave-pair"] * 3
    assert capsys.readouterr().out.count("| 2 ms |") == 3 * 2  # step, optimizer and latency of two models


@pytest.mark.parametrize("name", [*BASELINES, "wave-pair"])
def test_every_architecture_trains_and_classifies(name):
    measured = measure_model(name, 8, Conditions(**TINY))
    assert measured.keys() == set(QUANTITIES)
    assert all(value > 0 for value in measured.values())


def test_the_baselines_have_the_sizes_of_their_papers():
    millions = {"BERT-base": 109.5, "FNet-base": 82.9, "DistilBERT": 67.0, "baselines/bert-small": 28.8}
    for name, expected in millions.items():
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(load_config(name, 128, Conditions()))
        assert model.num_parameters() / 1e6 == pytest.approx(expected, rel=0.01)


def test_position_tables_grow_with_the_texts():
    lengths = [load_config("BERT-base", length, Conditions()).max_position_embeddings for length in (8, 600)]
    assert lengths == [512, 600]
    assert load_config("wave-small", 600, Conditions()).max_position_embeddings is None


def test_takes_the_folder_of_any_model(small_config):
    assert load_config(small_config, 8, Conditions()).hidden_size == 16


@pytest.mark.parametrize("bf16", [True, False])
def test_bf16_is_what_the_products_are_computed_in(bf16, monkeypatch):
    dtypes = set()
    linear = torch.nn.functional.linear

    def spy(*arguments):
        output = linear(*arguments)
        dtypes.add(output.dtype)
        return output

    monkeypatch.setattr(torch.nn.functional, "linear", spy)
    measure_model("wave-cola", 8, Conditions(**TINY, bf16=bf16))
    assert dtypes == {torch.bfloat16 if bf16 else torch.float32}


@pytest.mark.slow
def test_a_compiled_model_is_measured_too():
    assert measure_model("wave-cola", 8, Conditions(**TINY, torch_compile=True))["step_ms"] > 0


def test_actions_take_turns_and_the_first_time_does_not_count(monkeypatch):
    done = []
    # Each reading of the clock is that much later than the last one: 100 s for the first turns, then 1, 3 and 2.
    seconds = itertools.accumulate([0, 100, 0, 100, 0, 1, 0, 10, 0, 3, 0, 30, 0, 2, 0, 20])
    monkeypatch.setattr(benchmark_cases, "seconds_now", lambda device: next(seconds))
    actions = {"a": lambda: done.append("a"), "b": lambda: done.append("b")}
    first, medians = time_in_turns(actions, Conditions(steps=3, seconds=0))
    assert done == ["a", "b"] * 4
    assert first == {"a": 100_000, "b": 100_000}
    assert medians == {"a": 2000, "b": 20_000}


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


def test_one_length_has_no_exponents(results, tmp_path):
    results["models"] = [row for row in results["models"] if row["length"] == 64]
    assert "to the power of" not in report(results, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.md", "results.json"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("models", "gpt", "--models takes BERT-base, .* a recipe .* not gpt"),
        ("lengths", 0, r"--lengths should be at least 1, but is \[0\]"),
        ("repetitions", -1, "--repetitions should be at least 1, but is -1"),
    ],
)
def test_wrong_arguments_end_with_one_sentence(option, value, message, command_line):
    command_line(**{option: value})
    with pytest.raises(SystemExit, match=message):
        benchmark.main()


def test_a_process_that_dies_is_named():
    with pytest.raises(SystemExit, match=r"_exit\(\): the process ended"):
        benchmark.in_own_process(os._exit, 3)
