"""The benchmark script: its processes, the order of its measurements, and its output."""

import json
import os

import benchmark
import pytest
import torch
from analysis.benchmark.test_measure import QUANTITIES, TINY

from wave_hf.analysis.benchmark import measure


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


@pytest.fixture
def in_this_process(monkeypatch):
    """Measure small things without starting processes."""
    torch_compile = torch.compile
    monkeypatch.setattr(benchmark, "in_own_process", lambda measure, *arguments: measure(*arguments))
    monkeypatch.setattr(measure, "NETWORK", "wave-cola")
    monkeypatch.setattr(measure, "TABLE_ROWS", (30, 300))
    monkeypatch.setattr(measure, "STREAM_CHUNK", 100)
    # No C++ compiler.
    monkeypatch.setattr(torch, "compile", lambda model, **options: torch_compile(model, backend="eager", **options))


@pytest.mark.usefixtures("in_this_process")
def test_measures_the_operations_beside_their_yardsticks(command_line, capsys):
    command_line(**TINY, lengths=8, measure="operations")
    benchmark.main()
    printed = capsys.readouterr().out
    assert "| modulation | complex tensors |" in printed
    assert "| interference | complex tensors |" in printed
    assert "| wave-cola | its matrix products alone |" in printed


@pytest.mark.usefixtures("in_this_process")
def test_measures_the_kinds_of_token_tables_beside_each_other(command_line, capsys):
    command_line(**TINY, lengths=8, measure="tables")
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith(("| 30 ", "| 300 "))]
    assert [len(row) for row in rows] == [6, 6]
    assert all(float(cell) > 0 for row in rows for cell in row)


@pytest.mark.usefixtures("in_this_process")
def test_measures_texts_that_are_read_in_chunks(command_line, tmp_path):
    command_line("--lengths", 150, 200, measure="streams", output_dir=tmp_path / "out")
    benchmark.main()
    streams = json.loads((tmp_path / "out" / "results.json").read_text())["streams"]
    assert list(streams) == ["150", "200"]
    for measured in streams.values():
        # 0 where this process has had more memory than is needed.
        assert 0 <= measured["classify_memory_above_idle_mb"] <= measured["train_memory_above_idle_mb"]
        assert min(measured["classify_ms"], measured["train_ms"]) > 0
    lines = (tmp_path / "out" / "report.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[-2:]] == ["| 150", "| 200"]


def test_models_take_turns_and_their_median_counts(command_line, capsys, monkeypatch):
    order = []

    def measured(function, *arguments):
        if function is measure.measure_idle:
            return 0.0
        order.append(arguments[0])
        return dict.fromkeys(QUANTITIES, [7.0, 1.0, 2.0][order.count(arguments[0]) - 1])

    monkeypatch.setattr(benchmark, "in_own_process", measured)
    command_line("--models", "wave-cola", "wave-pair", measure="models", repetitions=3)
    benchmark.main()
    assert order == ["wave-cola", "wave-pair"] * 3
    assert capsys.readouterr().out.count("| 2 ms |") == 3 * 2  # step, optimizer and latency of two models


@pytest.mark.slow
def test_compares_predictions(command_line, capsys, monkeypatch, train_file, tmp_path):
    options = {"num_tokens": 200, "steps": 1, "seconds": 0, "repetitions": 1, "output_dir": tmp_path / "out"}
    lists = ("--lengths", 10, 50, "--predictors", "folded-int8", "pytorch", "tfidf-words", "encoder-bfloat16")
    command_line(*lists, measure="predictions", train_file=train_file, validation_file=train_file, **options)
    benchmark.main()
    predictions = json.loads((tmp_path / "out" / "results.json").read_text())["predictions"]
    assert [row["predictor"] for row in predictions] == ["folded-int8", "pytorch", "tfidf-words"]
    for row in predictions:
        assert row["accuracy"] > 0.4
        assert min(row["disk_mb"], row["memory_mb"], row["first_prediction_s"]) > 0
        counts = [(length, measured["texts"]) for length, measured in row["lengths"].items()]
        assert counts == [("rows", 72), ("10", 20), ("50", 4)]
    tables = capsys.readouterr().out.split("\n\n")[1:]
    assert [len(table.splitlines()) for table in tables] == [5] * 4


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("predictors", "gpt", "--predictors takes folded-float32, .* but not gpt"),
        ("num_tokens", 0, "--num_tokens should be at least 1, but is 0"),
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
