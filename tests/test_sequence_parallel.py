"""Tests of texts whose tokens several processes share: together they compute what one process does."""

import os
import re
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import torch
from builders import ALL_PARTS, configs, random_ids, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import DOCS, marked_block
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from wave_hf import (
    WaveForMaskedLM,
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveForTokenClassification,
)
from wave_hf.sequence_parallel import sequence_parallel

TIMEOUT = 10  # seconds that a process waits for the others
LABELS = torch.tensor([1, 0])
KINDS = {
    "local_kernel_size": st.sampled_from([None, 1, 3, 5]),
    "variant_kernel_size": st.sampled_from([None, 1, 3, 5]),
    "local_kernel_groups": st.sampled_from([None, 1, 2]),
    "max_position_embeddings": st.sampled_from([None, 64]),
}


def run_case(model: WaveForSequenceClassification, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the logits, and the gradients averaged over the processes."""
    output = model(**inputs)
    model.zero_grad()
    output.loss.backward()
    results = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    for gradient in results.values():
        distributed.all_reduce(gradient)
        gradient /= distributed.get_world_size()
    return results | {"logits": output.logits.detach()}


def check_random_cases() -> None:
    """Logits and gradients are those of one process, whatever the network, the text, the mask and the shares."""
    cases = []

    @settings(max_examples=40)
    @given(st.tuples(configs(**KINDS), st.integers(1, 60), st.integers(0, 1000), st.booleans()))
    def draw(case):
        cases.append(case)

    draw()
    for config, length, seed, masked in cases:
        # Where one token has nearly the whole energy of a text, the difference of the two loses half of the digits.
        # Scaled waves lose more of them: their gradient is the difference of two nearly equal ones.
        dtype = torch.float64 if masked or length < 24 or config.scale_waves else torch.float32
        model = tiny_model(config).to(dtype)
        inputs = {"input_ids": random_ids(2, length, seed=seed), "labels": LABELS}
        if masked:
            probabilities = torch.tensor([[0.8], [0.3]]).expand(2, length)
            generator = torch.Generator().manual_seed(seed)
            inputs["attention_mask"] = torch.bernoulli(probabilities, generator=generator).long()
            inputs["token_type_ids"] = (torch.arange(length) >= length // 2).long().expand(2, length)
        expected = run_case(model, **inputs)
        with sequence_parallel(model):
            shared = run_case(model, **inputs)
        scale = max(result.abs().max().item() for result in expected.values())
        assert_close(shared, expected, atol=1e-5 * max(scale, 1), rtol=1e-5)


def check_training() -> None:
    """Token dropout and gradient checkpointing work: all gradients are finite."""
    model = tiny_model(**ALL_PARTS, token_dropout_prob=0.3, hidden_dropout_prob=0.1).train()
    model.gradient_checkpointing_enable()
    with sequence_parallel(model):
        for pooling in ("mean", "max", "cls"):
            model.wave.pooler.pooling = pooling
            results = run_case(model, input_ids=random_ids(2, 16), labels=LABELS)
            assert all(result.isfinite().all() for result in results.values())


def check_data_parallel() -> None:
    """Two groups of two processes, each with a text of its own, train as one process does with both."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "sequence"))
    row = mesh.get_local_rank("data")
    model, ids = tiny_model(**ALL_PARTS), random_ids(2, 16)
    expected = run_case(model, input_ids=ids, labels=LABELS)
    parallel = DistributedDataParallel(model)
    with sequence_parallel(model, mesh["sequence"].get_group()):
        parallel.zero_grad()
        parallel(input_ids=ids[row : row + 1], labels=LABELS[row : row + 1]).loss.backward()
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-5)


def check_refusals() -> None:
    """Different texts in the processes raise an error, and the context leaves the model as it was."""
    model, rank = tiny_model(), distributed.get_rank()
    for ids in (random_ids(1, 8, seed=rank), random_ids(1, 8 + rank)):
        with sequence_parallel(model), pytest.raises(ValueError, match="should all have the same whole batch"):
            model(input_ids=ids)
    model(input_ids=random_ids(1, 8, seed=rank))
    with sequence_parallel(model), pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        model()


@pytest.mark.parametrize("head", [WaveForTokenClassification, WaveForMaskedLM, WaveForQuestionAnswering])
def test_head_that_labels_tokens_is_refused(head):
    context = sequence_parallel(tiny_model(model_class=head))
    with pytest.raises(ValueError, match=f"model is a {head.__name__}, but should read whole texts"), context:
        pass


def check_all() -> None:
    """Run the checks for any number of processes."""
    check_random_cases()
    check_training()
    check_refusals()


def lose_a_process(how: str) -> None:
    """Run until the other process dies or hangs."""
    model = tiny_model()
    with sequence_parallel(model):
        for step in range(3):
            if step == 1 and distributed.get_rank() == 1:
                if how == "dies":
                    os._exit(1)
                time.sleep(1000)
            model(input_ids=random_ids(1, 8))


@pytest.fixture
def start():
    """Return a function that starts processes which run a function of this file."""
    processes = []

    def start_processes(number: int, *function: str) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        for rank in range(number):
            place = {"RANK": rank, "WORLD_SIZE": number, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
            environment = os.environ | {name: str(value) for name, value in place.items()}
            command = [sys.executable, __file__, *function]
            processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return processes

    yield start_processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_processes_together_are_one(start, number):
    for process in start(number, "check_all"):
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors


@pytest.mark.slow
def test_composes_with_data_parallelism(start):
    for process in start(4, "check_data_parallel"):
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors


@pytest.mark.slow
def test_example_of_the_page_runs(tmp_path):
    code = marked_block(DOCS / "long_texts.md", "torchrun")
    (tmp_path / "train_long.py").write_text(code, encoding="utf-8")
    # the address: a machine's own name need not be one that can be reached
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "localhost", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, str(tmp_path / "train_long.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    losses = re.findall(r"Loss (\d\.\d{3})", ended.stdout)
    assert len(losses) == 2
    assert losses[0] == losses[1] < "0.6"  # from about 0.69


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_lost_process_ends_the_others(start, how):
    survivor, _ = start(2, "lose_a_process", how)
    _, errors = survivor.communicate(timeout=100 + TIMEOUT)
    assert survivor.returncode == 1
    assert "RuntimeError" in errors or "DistBackendError" in errors


if __name__ == "__main__":
    settings.register_profile("wave_hf", derandomize=True, deadline=None, database=None)
    settings.load_profile("wave_hf")
    distributed.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT))
    globals()[sys.argv[1]](*sys.argv[2:])
    distributed.destroy_process_group()
