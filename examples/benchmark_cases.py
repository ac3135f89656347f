# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""What benchmark.py measures: each `measure_...` runs in a process of its own, so that its peak memory is its own.

common.py is not imported, because what it imports would count as memory of every model.
"""

import copy
import inspect
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    FNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)

import wave_hf
from wave_hf import reference
from wave_hf.model_card import count_parameters

RECIPES = Path(__file__).parent / "configs"
BASELINES = {"BERT-base": BertConfig(), "FNet-base": FNetConfig(), "DistilBERT": DistilBertConfig()}
TABLE_ROWS = (30_000, 300_000)  # what a vocabulary of one language has, and one of many
TABLE_COLUMNS = 64  # of the factorised table
NETWORK = "paper-modulation"  # whose forward and backward passes are held against its matrix products
STREAMED = "wave-small"  # which reads texts piece by piece
STREAM_CHUNK = 10_000  # tokens of a piece

Action = Callable[..., Any]


@dataclass
class Conditions:
    """What all measurements of a run have in common."""

    batch_size: int = field(default=32, metadata={"help": "Texts in a batch of training."})
    inference_batch_size: int = field(default=64, metadata={"help": "Texts in a batch of inference."})
    num_labels: int = field(default=4, metadata={"help": "Classes."})
    steps: int = field(default=3, metadata={"help": "Least number of times each thing is timed, after one warm-up."})
    seconds: float = field(default=3, metadata={"help": "Least time that they take together: quick steps vary more."})
    bf16: bool = field(default=False, metadata={"help": "Compute in bfloat16 where that is safe, by autocast."})
    torch_compile: bool = field(default=False, metadata={"help": "Compile the models."})
    use_cpu: bool = field(default=False, metadata={"help": "Measure the CPU, even if there is a GPU."})

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return torch.device("cuda" if torch.cuda.is_available() and not self.use_cpu else "cpu")

    def autocast(self) -> torch.autocast:
        """Return the context of every forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def measure_idle(conditions: Conditions) -> float:
    """Return the peak memory in MB of a process that has done nothing but the imports."""
    return peak_memory(conditions.device)


def measure_model(name: str, length: int, conditions: Conditions) -> dict[str, float]:
    """Classify with one model, then train it with AdamW.

    Inference comes first, so that its peak memory can be told from that of training, which is higher.

    Args:
        name: One of `BASELINES`, a recipe, or the folder of another model; its weights are not read.
        length: Tokens in a text; all are real.
        conditions: Sizes, precision and patience.

    Returns:
        Sizes; medians in milliseconds; peak memory of the process in MB (on a GPU: of the tensors on it).
    """
    set_seed(0)
    device = conditions.device
    model = AutoModelForSequenceClassification.from_config(load_config(name, length, conditions)).to(device)
    if conditions.torch_compile:
        model.compile(dynamic=False)
    one, many = (random_batch(model, size, length, conditions) for size in (1, conditions.inference_batch_size))
    labelled = random_batch(model, conditions.batch_size, length, conditions, labelled=True)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def infer(batch: dict[str, torch.Tensor]) -> None:
        with torch.inference_mode(), conditions.autocast():
            model(**batch)

    model.eval()
    _, latency = time_in_turns({"latency_ms": lambda: infer(one)}, conditions)
    _, batch_inference = time_in_turns({"batch_ms": lambda: infer(many)}, conditions)
    inference_memory = peak_memory(device)
    model.train()
    halves = {
        "forward_backward_ms": lambda: forward_backward(model, labelled, conditions),
        "optimizer_ms": optimizer.step,
    }
    first_step, step = time_in_turns(halves, conditions)
    return {
        **count_parameters(model),
        **latency,
        "texts_per_second": 1000 * conditions.inference_batch_size / batch_inference["batch_ms"],
        "inference_memory_mb": inference_memory,
        "first_step_ms": sum(first_step.values()),
        **step,
        "step_ms": sum(step.values()),
        "training_memory_mb": peak_memory(device),
    }


def measure_operations(length: int, conditions: Conditions) -> dict[str, dict[str, float]]:
    """Time forward and backward of the wave operations and of a network in float32, each beside its yardstick.

    Args:
        length: Tokens in a text.
        conditions: Sizes and patience; the width is that of `NETWORK`.

    Returns:
        Median milliseconds of the `"yardstick"`, `"eager"` and `"compiled"`, by what was timed. The yardstick of an
        operation is the papers' form of it, with complex tensors; that of the network, its matrix products alone.
    """
    set_seed(0)
    conditions = replace(conditions, bf16=False)
    return {
        "modulation": time_operation(wave_hf.wave_modulation, reference.wave_modulation, length, conditions),
        "interference": time_operation(wave_hf.wave_interference, reference.wave_interference, length, conditions),
        NETWORK: time_network(length, conditions),
    }


def time_operation(operation: Action, oracle: Action, length: int, conditions: Conditions) -> dict[str, float]:
    """Time Token2Wave of two variants of tokens and an operation on the waves, and the same with complex tensors."""
    shape = (conditions.batch_size, length, load_config(NETWORK, length, conditions).hidden_size)
    variants = [torch.randn(shape, device=conditions.device, requires_grad=True) for _ in range(2)]
    grad = torch.randn(shape, device=conditions.device)

    def combine(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return operation(wave_hf.token2wave(first), wave_hf.token2wave(second))

    def combine_complex(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (oracle(reference.token2wave(first), reference.token2wave(second)),)

    compiled = torch.compile(combine, dynamic=False)
    forms = {
        "yardstick": lambda: torch.autograd.grad(combine_complex(*variants), variants, (torch.complex(grad, grad),)),
        "eager": lambda: torch.autograd.grad(combine(*variants), variants, (grad, grad)),
        "compiled": lambda: torch.autograd.grad(compiled(*variants), variants, (grad, grad)),
    }
    return time_in_turns(forms, conditions)[1]


def time_network(length: int, conditions: Conditions) -> dict[str, float]:
    """Time forward and backward of `NETWORK`, and the matrix products that its linear maps of tokens need for them."""
    device = conditions.device
    model = AutoModelForSequenceClassification.from_config(load_config(NETWORK, length, conditions)).to(device)
    compiled = copy.deepcopy(model)
    compiled.compile(dynamic=False)
    batch = random_batch(model, conditions.batch_size, length, conditions, labelled=True)
    weights = [module.weight.detach() for module in model.base_model.modules() if isinstance(module, nn.Linear)]
    num_tokens = conditions.batch_size * length
    # The input of each map, `(N, in)`, and the gradient of its output, `(N, out)`.
    pairs = [[torch.randn(num_tokens, size, device=device) for size in weight.T.shape] for weight in weights]

    def multiply() -> None:
        for weight, (tokens, grad) in zip(weights, pairs, strict=True):
            torch.mm(tokens, weight.T)
            torch.mm(grad, weight)
            torch.mm(grad.T, tokens)

    forms = {
        "yardstick": multiply,
        "eager": lambda: forward_backward(model, batch, conditions),
        "compiled": lambda: forward_backward(compiled, batch, conditions),
    }
    return time_in_turns(forms, conditions)[1]


def measure_tables(length: int, conditions: Conditions) -> dict[int, dict[str, float]]:
    """Time the share of the token table in a training step: looking up, gradient and optimizer.

    Args:
        length: Tokens in a text.
        conditions: Sizes and patience; the width is that of `NETWORK`.

    Returns:
        Median milliseconds by the number of rows, and by kind of table: `"dense"` with AdamW; `"factorised"`, of
        `TABLE_COLUMNS` columns and a linear map to that width, with AdamW; `"sparse"`, whose gradient holds the rows
        of the batch alone, with SparseAdam, as AdamW does not take it.
    """
    set_seed(0)
    width = load_config(NETWORK, length, conditions).hidden_size
    times = {}
    for rows in TABLE_ROWS:
        narrow = nn.Sequential(nn.Embedding(rows, TABLE_COLUMNS), nn.Linear(TABLE_COLUMNS, width))
        tables: dict[str, tuple[nn.Module, Action]] = {
            "dense": (nn.Embedding(rows, width), partial(torch.optim.AdamW, fused=True)),
            "factorised": (narrow, partial(torch.optim.AdamW, fused=True)),
            "sparse": (nn.Embedding(rows, width, sparse=True), torch.optim.SparseAdam),
        }
        steps = {kind: table_step(table, optimizer, length, conditions) for kind, (table, optimizer) in tables.items()}
        times[rows] = time_in_turns(steps, conditions)[1]
    return times


def table_step(table: nn.Module, optimizer_class: Action, length: int, conditions: Conditions) -> Action:
    """Return a step of training that looks random tokens up."""
    table.to(conditions.device)
    optimizer = optimizer_class(list(table.parameters()))
    rows = next(table.parameters()).shape[0]
    input_ids = torch.randint(rows, (conditions.batch_size, length), device=conditions.device)

    def step() -> None:
        optimizer.zero_grad()
        table(input_ids).sum().backward()
        optimizer.step()

    return step


def measure_stream(length: int, conditions: Conditions) -> dict[str, float]:
    """Classify one text by `classify_stream`, once, then compute the gradients of its loss.

    Args:
        length: Tokens in the text, which are drawn at random when they are read.
        conditions: Labels and place.

    Returns:
        Milliseconds, and the peak memory of the process in MB above what it had before the model.
    """
    set_seed(0)
    device = conditions.device
    idle_memory = peak_memory(device)
    model = AutoModelForSequenceClassification.from_config(load_config(STREAMED, length, conditions)).to(device)
    sizes = [STREAM_CHUNK] * (length // STREAM_CHUNK) + [length % STREAM_CHUNK]
    label = torch.zeros(1, dtype=torch.long, device=device)

    def read() -> Iterator[torch.Tensor]:
        return (torch.randint(model.config.vocab_size, (size,)) for size in sizes)

    classify_ms = milliseconds_of(lambda: model.classify_stream(read), device)
    classify_memory = peak_memory(device) - idle_memory
    train_ms = milliseconds_of(lambda: model.classify_stream(read, labels=label).loss.backward(), device)
    return {
        "classify_ms": classify_ms,
        "classify_memory_above_idle_mb": classify_memory,
        "train_ms": train_ms,
        "train_memory_above_idle_mb": peak_memory(device) - idle_memory,
    }


def load_config(name: str, length: int, conditions: Conditions) -> PreTrainedConfig:
    """Return the config of a baseline, a recipe or a folder, with positions for texts of this length."""
    config = copy.deepcopy(BASELINES[name]) if name in BASELINES else AutoConfig.from_pretrained(config_folder(name))
    config.num_labels, config.problem_type = conditions.num_labels, "single_label_classification"
    if (limit := getattr(config, "max_position_embeddings", None)) is not None:
        config.max_position_embeddings = max(limit, length)
    return config


def config_folder(name: str) -> Path:
    """Return the folder of a recipe, or that of any other model."""
    return RECIPES / name if (RECIPES / name).is_dir() else Path(name)


def random_batch(
    model: PreTrainedModel, batch_size: int, length: int, conditions: Conditions, labelled: bool = False
) -> dict[str, torch.Tensor]:
    """Return random token ids `(B, T)`, a mask of ones, if the model takes one, and labels `(B,)`, if wanted."""
    device, shape = conditions.device, (batch_size, length)
    batch = {"input_ids": torch.randint(model.config.vocab_size, shape, device=device)}
    if "attention_mask" in inspect.signature(model.forward).parameters:
        batch["attention_mask"] = torch.ones(shape, dtype=torch.long, device=device)
    if labelled:
        batch["labels"] = torch.randint(conditions.num_labels, (batch_size,), device=device)
    return batch


def forward_backward(model: PreTrainedModel, batch: dict[str, torch.Tensor], conditions: Conditions) -> None:
    """Compute the gradients of the loss."""
    model.zero_grad()
    with conditions.autocast():
        loss = model(**batch).loss
    loss.backward()


def time_in_turns(actions: dict[str, Action], conditions: Conditions) -> tuple[dict[str, float], dict[str, float]]:
    """Time actions A B A B, so that a machine that slows down does so for all of them.

    Returns:
        Milliseconds of each action: those of the first time, and the median of all others.
    """

    def take_turns() -> list[float]:
        return [milliseconds_of(action, conditions.device) for action in actions.values()]

    first, *turns = [take_turns(), take_turns()]
    while len(turns) < conditions.steps or sum(map(sum, turns)) < 1000 * conditions.seconds:
        turns.append(take_turns())
    medians = map(statistics.median, zip(*turns, strict=True))
    return dict(zip(actions, first, strict=True)), dict(zip(actions, medians, strict=True))


def milliseconds_of(action: Action, device: torch.device) -> float:
    """Do it once."""
    start = seconds_now(device)
    action()
    return 1000 * (seconds_now(device) - start)


def seconds_now(device: torch.device) -> float:
    """Read the clock when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(device: torch.device) -> float:
    """Return the most memory in MB that this process, or its tensors on the GPU, have had."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
