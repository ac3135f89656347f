#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Measure what a whole training step costs: Wave Networks beside BERT-base and FNet-base, in one run.

    python examples/benchmark.py --output_file benchmark.json

Every measurement is a process of its own, so that its peak memory is that of one model alone; the models take turns,
so that a machine that slows down does so for all of them. Read the ratios: the times belong to the machine.
"""

import json
import logging
import os
import platform
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    FNetConfig,
    HfArgumentParser,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)
from transformers.utils.logging import tqdm

import wave_hf  # noqa: F401 - registers the Wave Network with the Auto classes

# Not imported from common.py, whose own imports would count as memory of every model.
RECIPES = Path(__file__).parent / "configs"
BASELINES = {"BERT-base": BertConfig(), "FNet-base": FNetConfig()}

logger = logging.getLogger("examples.benchmark")


@dataclass
class BenchmarkArguments:
    """The shape of the batch and how often it is measured."""

    batch_size: int = field(default=32, metadata={"help": "Texts in a batch."})
    sequence_length: int = field(default=128, metadata={"help": "Tokens in a text."})
    num_labels: int = field(default=4, metadata={"help": "Classes."})
    steps: int = field(default=3, metadata={"help": "Least number of steps in each process, after one not measured."})
    seconds: float = field(default=10, metadata={"help": "Least time that they take together: quick steps vary more."})
    repetitions: int = field(default=2, metadata={"help": "Processes for each model."})
    output_file: str | None = field(default=None, metadata={"help": "Where the measurements are written, as json."})


def main() -> None:
    """Measure every model and print the table."""
    (args,) = HfArgumentParser(BenchmarkArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger.info("%s, %d cores, torch %s, %s", platform.machine(), os.cpu_count(), torch.__version__, args)
    names = [*BASELINES, *sorted(file.parent.name for file in RECIPES.glob("*/config.json"))]
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for name in tqdm(names * args.repetitions, desc="Measuring"):
        # A process that ends after one task gives its memory back before the next is measured.
        with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
            measured[name].append(pool.submit(measure, name, args).result())
    table = {name: summarize(runs) for name, runs in measured.items()}
    print_table(table)
    if args.output_file:
        Path(args.output_file).write_text(json.dumps({"arguments": asdict(args), "models": table}, indent=2) + "\n")


def measure(name: str, args: BenchmarkArguments) -> dict[str, float]:
    """Train one model for some steps of AdamW and return its size, its median step and its peak memory."""
    set_seed(0)
    model = AutoModelForSequenceClassification.from_config(load_config(name, args.num_labels)).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    shape = (args.batch_size, args.sequence_length)
    batch = {
        "input_ids": torch.randint(model.config.vocab_size, shape),
        "attention_mask": torch.ones(shape, dtype=torch.long),
        "labels": torch.randint(args.num_labels, (args.batch_size,)),
    }
    if model.config.model_type == "fnet":
        del batch["attention_mask"]  # FNet takes none
    seconds = [training_step(model, optimizer, batch)]
    while len(seconds) <= args.steps or sum(seconds) < args.seconds:
        seconds.append(training_step(model, optimizer, batch))
    return {
        "parameters": model.num_parameters(),
        "parameters_outside_token_table": model.num_parameters() - model.get_input_embeddings().weight.numel(),
        "step_ms": 1000 * statistics.median(seconds[1:]),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def load_config(name: str, num_labels: int) -> PreTrainedConfig:
    """Return the config of a baseline or of a recipe."""
    config = BASELINES[name] if name in BASELINES else AutoConfig.from_pretrained(RECIPES / name)
    config.num_labels = num_labels
    return config


def training_step(model: PreTrainedModel, optimizer: torch.optim.Optimizer, batch: dict[str, Any]) -> float:
    """Do one whole step and return its seconds."""
    start = time.perf_counter()
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start


def summarize(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each quantity over the processes."""
    return {quantity: statistics.median(run[quantity] for run in runs) for quantity in runs[0]}


def print_table(table: dict[str, dict[str, float]]) -> None:
    """Print the measurements as a Markdown table, with the ratios to BERT-base."""
    reference = table["BERT-base"]
    print("| model | parameters | outside the token table | step | of BERT-base | peak memory | of BERT-base |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in table.items():
        print(
            f"| {name} | {row['parameters'] / 1e6:.1f} M | {row['parameters_outside_token_table'] / 1e6:.2f} M "
            f"| {row['step_ms']:.0f} ms | {row['step_ms'] / reference['step_ms']:.1%} "
            f"| {row['peak_memory_mb']:.0f} MB | {row['peak_memory_mb'] / reference['peak_memory_mb']:.1%} |"
        )


if __name__ == "__main__":
    main()
