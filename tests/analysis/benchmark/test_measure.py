"""The measurements of the benchmark: what is measured and in which order, never how long something takes."""

import itertools
from functools import partial

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from wave_hf.analysis.benchmark import measure
from wave_hf.analysis.benchmark.measure import BASELINES, Conditions, load_config, measure_model, time_in_turns

TINY = {"batch_size": 2, "inference_batch_size": 2, "steps": 1, "seconds": 0}
QUANTITIES = ("parameters", "parameters_outside_token_table", "step_ms", "forward_backward_ms", "optimizer_ms")
QUANTITIES += ("first_step_ms", "training_memory_mb", "latency_ms", "texts_per_second", "inference_memory_mb")


@pytest.mark.slow
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
def test_a_compiled_model_is_measured_too(monkeypatch):
    compiled = []

    def compile_quickly(function, **options):
        compiled.append(options)
        return torch_compile(function, backend="eager", **options)  # no C++ compiler

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile_quickly)
    assert measure_model("wave-cola", 8, Conditions(**TINY, torch_compile=True))["step_ms"] > 0
    assert compiled == [{"dynamic": False}]


def test_actions_take_turns_and_the_first_time_does_not_count(monkeypatch):
    done = []
    # Each reading of the clock is that much later than the last one: 100 s for the first turns, then 1, 3 and 2.
    seconds = itertools.accumulate([0, 100, 0, 100, 0, 1, 0, 10, 0, 3, 0, 30, 0, 2, 0, 20])
    monkeypatch.setattr(measure, "seconds_now", lambda device: next(seconds))
    actions = {name: partial(done.append, name) for name in "ab"}
    first, medians = time_in_turns(actions, Conditions(steps=3, seconds=0))
    assert done == ["a", "b"] * 4
    assert first == {"a": 100_000, "b": 100_000}
    assert medians == {"a": 2000, "b": 20_000}
