#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Measure what Wave Networks cost beside BERT-base and other encoders, in one run on this machine.

    python examples/benchmark.py --output_dir benchmark
    python examples/benchmark.py --lengths 512 2048 8192 --batch_size 1 --inference_batch_size 1 --measure models

First the wave operations stand beside the papers' form of them with complex tensors, and a whole network beside its
bare matrix products, and kinds of token tables beside each other. Then every model trains and classifies, over all
lengths: each measurement is a process of its own, so that its peak memory is that of one model alone, and the models
take turns, so that a machine that slows down does so for all of them. Read the ratios: the times belong to the
machine.
"""

import logging
import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import transformers
from benchmark_cases import (
    BASELINES,
    Conditions,
    config_folder,
    load_config,
    measure_idle,
    measure_model,
    measure_operations,
    measure_stream,
    measure_tables,
)
from transformers import HfArgumentParser
from transformers.utils import CONFIG_NAME
from transformers.utils.logging import tqdm

USES = ("training", "inference")
MODELS = [*BASELINES, "baselines/transformer-layer", "paper-interference", "paper-modulation", "wave-small"]

Result = TypeVar("Result")

logger = logging.getLogger("examples.benchmark")


@dataclass
class BenchmarkArguments(Conditions):
    """What is measured, how often, and under which conditions."""

    measure: Literal["all", "models", "operations", "tables", "streams"] = field(
        default="all",
        metadata={"help": "Models, the wave operations, token tables, all of these, or texts read piece by piece."},
    )
    models: list[str] = field(
        default_factory=lambda: list(MODELS),
        metadata={"help": "Baselines, recipes or folders; the first is compared with."},
    )
    lengths: list[int] = field(
        default_factory=lambda: [128],
        metadata={"help": "Tokens in a text; operations and tables are measured at the first."},
    )
    max_baseline_length: int = field(
        default=2048, metadata={"help": "Longest texts of models that are no Wave Networks: attention takes too long."}
    )
    repetitions: int = field(default=2, metadata={"help": "Processes for each model and length."})
    output_dir: str | None = field(default=None, metadata={"help": "Where report, figure and numbers are written."})

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be measured."""
        for name in ("batch_size", "inference_batch_size", "steps", "repetitions", "lengths"):
            if np.min(getattr(self, name)) < 1:
                raise ValueError(f"--{name} should be at least 1, but is {getattr(self, name)}.")
        unknown = [
            name for name in self.models if name not in BASELINES and not (config_folder(name) / CONFIG_NAME).exists()
        ]
        if unknown:
            raise ValueError(
                f"--models takes {', '.join(BASELINES)}, a recipe of examples/configs or the folder of another model, "
                f"but not {', '.join(unknown)}."
            )


def main() -> None:
    """Measure, and report what was measured."""
    try:
        (args,) = HfArgumentParser(BenchmarkArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    except ValueError as error:
        raise SystemExit(f"Arguments: {error}") from error
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results: dict[str, Any] = {"machine": describe_machine(args), "arguments": asdict(args)}
    logger.info(results["machine"])
    if args.measure in ("all", "operations"):
        results["operations"] = in_own_process(measure_operations, args.lengths[0], args)
    if args.measure in ("all", "tables"):
        results["tables"] = in_own_process(measure_tables, args.lengths[0], args)
    if args.measure in ("all", "models"):
        results |= measure_models(args)
    if args.measure == "streams":
        results["streams"] = {length: in_own_process(measure_stream, length, args) for length in args.lengths}

    # Only now, as the memory of this process is the least that another one started from it can have.
    from benchmark_report import report

    print(report(results, args.output_dir))


def measure_models(args: BenchmarkArguments) -> dict[str, Any]:
    """Return the memory of an idle process, the medians of each model at each length, and what was left out."""
    idle_memory = in_own_process(measure_idle, args)
    cases = [(name, length) for length in args.lengths for name in args.models]
    left_out = [case for case in cases if is_left_out(*case, args)]
    cases = [case for case in cases if case not in left_out]
    runs = defaultdict(list)
    for name, length in tqdm(cases * args.repetitions, desc="Measuring"):
        runs[name, length].append(in_own_process(measure_model, name, length, args))
    rows: list[dict[str, Any]] = [
        {"model": name, "length": length, **summarize(runs[name, length])} for name, length in cases
    ]
    for row in rows:
        for use in ("inference", "training"):
            row[f"{use}_memory_above_idle_mb"] = row[f"{use}_memory_mb"] - idle_memory
    return {"idle_memory_mb": idle_memory, "models": rows, "left_out": left_out}


def is_left_out(name: str, length: int, args: BenchmarkArguments) -> bool:
    """Tell whether texts of this length would take a model too long."""
    return length > args.max_baseline_length and load_config(name, length, args).model_type != "wave_network"


def in_own_process(measure: Callable[..., Result], *arguments: Any) -> Result:
    """Measure in a process that gives its memory back before the next is measured."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, *arguments).result()
        except BrokenProcessPool as error:
            case = f"{measure.__name__}({', '.join(map(str, arguments[:-1]))})"
            raise SystemExit(f"{case}: the process ended, perhaps for want of memory.") from error


def summarize(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each quantity over the processes."""
    return {quantity: statistics.median(run[quantity] for run in runs) for quantity in runs[0]}


def describe_machine(args: BenchmarkArguments) -> str:
    """Return what a reader of the numbers wants to know of where they come from."""
    device = torch.cuda.get_device_name() if args.device.type == "cuda" else describe_cpu()
    precision = "bfloat16 by autocast" if args.bf16 else "float32"
    return (
        f"{device}, torch {torch.__version__} with {torch.get_num_threads()} threads, transformers "
        f"{transformers.__version__}, {precision}, {'torch.compile' if args.torch_compile else 'eager'}"
    )


def describe_cpu() -> str:
    """Return the processor's name, where the system tells it, its cores, and the vector instructions torch uses."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name} ({platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()})"


if __name__ == "__main__":
    main()
