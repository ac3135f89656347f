# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The measurements: each `measure_...` runs in a process of its own, so that the peak memory is that of one model.

This module imports no more than it needs, because imports count as memory of every model.
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

from ... import reference, token2wave, wave_interference, wave_modulation
from ...model_card import count_parameters
from ...recipes import find_recipe
from .predictors import PREDICTORS

BASELINES = {"BERT-base": BertConfig(), "FNet-base": FNetConfig(), "DistilBERT": DistilBertConfig()}
TABLE_ROWS = (30_000, 300_000)  # the sizes of a vocabulary of one language, and of many
TABLE_COLUMNS = 64  # width of the factorized table
NETWORK = "paper-modulation"  # the network that is compared with its matrix products
STREAMED = "wave-small"  # the network that reads texts in chunks
STREAM_CHUNK = 10_000  # tokens in a chunk

Action = Callable[..., Any]


@dataclass
class Conditions:
    """Options that all measurements of a run share."""

    batch_size: int = field(default=32, metadata={"help": "Training batch size."})
    inference_batch_size: int = field(default=64, metadata={"help": "Inference batch size."})
    num_labels: int = field(default=4, metadata={"help": "Number of classes."})
    steps: int = field(default=3, metadata={"help": "Minimum number of timed repetitions, after a warm-up."})
    seconds: float = field(default=3, metadata={"help": "Minimum duration of all repetitions together."})
    bf16: bool = field(default=False, metadata={"help": "Use bfloat16 autocast."})
    torch_compile: bool = field(default=False, metadata={"help": "Compile the models."})
    use_cpu: bool = field(default=False, metadata={"help": "Measure on the CPU even if there is a GPU."})

    @property
    def device(self) -> torch.device:
        """The device that is measured."""
        return torch.device("cuda" if torch.cuda.is_available() and not self.use_cpu else "cpu")

    def autocast(self) -> torch.autocast:
        """Return the autocast context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


@dataclass
class PredictionConditions(Conditions):
    """Options of the comparison of predictions."""

    predictors: list[str] = field(
        default_factory=lambda: list(PREDICTORS),
        metadata={"help": f"Predictors, which are compared with the first: {', '.join(PREDICTORS)}."},
    )
    train_file: str | None = field(
        default=None,
        metadata={"help": "Rows that predictors learn from, text and label, csv or json. None: documentation corpus."},
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Rows that they predict. None: some of the training rows are held out."}
    )
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Trained Wave Network, a folder or a Hub id. None: train wave-small."}
    )
    encoder: str | None = field(
        default=None, metadata={"help": "Pretrained encoder, such as all-MiniLM-L6-v2: a folder or a Hub id."}
    )
    static_model: str | None = field(
        default=None, metadata={"help": "Static vectors for model2vec, such as potion-base-8M: a folder or a Hub id."}
    )
    num_threads: int = field(default=1, metadata={"help": "Threads of each predictor that can use several."})
    num_tokens: int = field(default=100_000, metadata={"help": "Tokens in all texts of one length together."})


def measure_idle(conditions: Conditions) -> float:
    """Return the peak memory in MB of a process after the imports."""
    return peak_memory(conditions.device)


def measure_model(name: str, length: int, conditions: Conditions) -> dict[str, float]:
    """Measure inference with one model, and then its training with AdamW.

    Inference comes first because its peak memory is lower.

    Args:
        name: One of `BASELINES`, a recipe, or the folder of a config. The weights are random.
        length: Tokens in a text, without padding.
        conditions: Sizes, precision and durations.

    Returns:
        Parameter counts, median times in milliseconds, and the peak memory of the process in MB (on a GPU: of the
        tensors on it).
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
    """Time the forward and backward passes of the wave operations and of a network in float32 against a yardstick.

    Args:
        length: Tokens in a text.
        conditions: Sizes and durations. The width is that of `NETWORK`.

    Returns:
        The median milliseconds of the `"yardstick"`, `"eager"` and `"compiled"` form of each operation and of the
        network. The yardstick of an operation is its form with complex tensors in the papers, that of the network its
        matrix products alone.
    """
    set_seed(0)
    conditions = replace(conditions, bf16=False)
    return {
        "modulation": time_operation(wave_modulation, reference.wave_modulation, length, conditions),
        "interference": time_operation(wave_interference, reference.wave_interference, length, conditions),
        NETWORK: time_network(length, conditions),
    }


def time_operation(operation: Action, oracle: Action, length: int, conditions: Conditions) -> dict[str, float]:
    """Time an operation on the waves of two variants of tokens, with real and with complex tensors."""
    shape = (conditions.batch_size, length, load_config(NETWORK, length, conditions).hidden_size)
    variants = [torch.randn(shape, device=conditions.device, requires_grad=True) for _ in range(2)]
    grad = torch.randn(shape, device=conditions.device)

    def combine(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return operation(token2wave(first), token2wave(second))

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
    """Time the forward and backward passes of `NETWORK`, and the matrix products of its linear maps of tokens."""
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
    """Time the part of a training step that depends on the token table: lookup, gradient and optimizer.

    Args:
        length: Tokens in a text.
        conditions: Sizes and durations. The width is that of `NETWORK`.

    Returns:
        The median milliseconds by the number of rows and the kind of table: `"dense"`; `"factorised"` into
        `TABLE_COLUMNS` columns and a linear map; and `"sparse"`, whose gradient holds only the rows of the batch. The
        optimizer is AdamW, or SparseAdam for the sparse table, because AdamW has no sparse gradients.
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
    """Return a training step on the embeddings of random tokens."""
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
    """Classify one text with `classify_stream`, and compute the gradients of its loss, once each.

    Args:
        length: Tokens in the text, which are drawn at random as they are read.
        conditions: Number of labels and device.

    Returns:
        Milliseconds, and the peak memory of the process in MB above its memory before the model was made.
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
    """Return the config of a baseline, a recipe or a folder, with enough positions for texts of this length."""
    if name in BASELINES:
        config = copy.deepcopy(BASELINES[name])
    else:
        config = AutoConfig.from_pretrained(config_folder(name), trust_remote_code=False)
    config.num_labels, config.problem_type = conditions.num_labels, "single_label_classification"
    if (limit := getattr(config, "max_position_embeddings", None)) is not None:
        config.max_position_embeddings = max(limit, length)
    return config


def config_folder(name: str) -> Path:
    """Return the folder of a recipe, or the path of any other folder."""
    return find_recipe(name) or Path(name)


def random_batch(
    model: PreTrainedModel, batch_size: int, length: int, conditions: Conditions, labelled: bool = False
) -> dict[str, torch.Tensor]:
    """Return random token ids `(B, T)`, a mask of ones if the model takes one, and labels `(B,)` if `labelled`."""
    device, shape = conditions.device, (batch_size, length)
    batch = {"input_ids": torch.randint(model.config.vocab_size, shape, device=device)}
    if "attention_mask" in inspect.signature(model.forward).parameters:
        batch["attention_mask"] = torch.ones(shape, dtype=torch.long, device=device)
    if labelled:
        batch["labels"] = torch.randint(conditions.num_labels, (batch_size,), device=device)
    return batch


def forward_backward(model: PreTrainedModel, batch: dict[str, torch.Tensor], conditions: Conditions) -> None:
    """Run a forward and a backward pass."""
    model.zero_grad()
    with conditions.autocast():
        loss = model(**batch).loss
    loss.backward()


def time_in_turns(actions: dict[str, Action], conditions: Conditions) -> tuple[dict[str, float], dict[str, float]]:
    """Time actions in turns, so that a change of the machine's speed affects all of them.

    Returns:
        The milliseconds of the first run of each action, and the median of all others.
    """

    def take_turns() -> list[float]:
        return [milliseconds_of(action, conditions.device) for action in actions.values()]

    first, *turns = [take_turns(), take_turns()]
    while len(turns) < conditions.steps or sum(map(sum, turns)) < 1000 * conditions.seconds:
        turns.append(take_turns())
    medians = map(statistics.median, zip(*turns, strict=True))
    return dict(zip(actions, first, strict=True)), dict(zip(actions, medians, strict=True))


def milliseconds_of(action: Action, device: torch.device) -> float:
    """Return the duration of one run of an action."""
    start = seconds_now(device)
    action()
    return 1000 * (seconds_now(device) - start)


def seconds_now(device: torch.device) -> float:
    """Return the time after all work queued on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process in MB, or of its tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
