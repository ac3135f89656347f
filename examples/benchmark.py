#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Measure the time and memory of Wave Networks, BERT-base and other encoders, in one run on this machine.

    python benchmark.py --output_dir benchmark
    python benchmark.py --lengths 512 2048 8192 --batch_size 1 --inference_batch_size 1 --measure models
    python benchmark.py --lengths 10 50 500 5000 --measure predictions

It compares the wave operations with their form in the papers, with complex tensors; a network with its matrix products
alone; kinds of token tables with each other; and the training and inference of models over all lengths. Each
measurement runs in a process of its own, so that its peak memory is that of one model, and the models take turns, so
that a change of the machine's speed affects all of them. Compare the ratios: absolute times depend on the machine.

`--measure predictions` trains wave-small and other classifiers, and compares the whole way from a text to its label.
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
from transformers import HfArgumentParser
from transformers.utils import CONFIG_NAME
from transformers.utils.logging import tqdm

from wave_hf import WaveConfig
from wave_hf.analysis.benchmark.measure import (
    BASELINES,
    PredictionConditions,
    config_folder,
    load_config,
    measure_idle,
    measure_model,
    measure_operations,
    measure_stream,
    measure_tables,
)
from wave_hf.analysis.benchmark.predictors import PREDICTORS
from wave_hf.training.errors import exit_on_error

MODELS = [*BASELINES, "baselines/transformer-layer", "paper-interference", "paper-modulation", "wave-small"]

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass
class BenchmarkArguments(PredictionConditions):
    """Options of the benchmark."""

    measure: Literal["all", "models", "operations", "tables", "streams", "predictions"] = field(
        default="all",
        metadata={
            "help": "Models, wave operations, token tables, all of these, texts that are read in chunks, or the "
            "predictions of trained classifiers."
        },
    )
    models: list[str] = field(
        default_factory=lambda: list(MODELS),
        metadata={"help": "Baselines, recipes or folders of configs. The others are compared with the first."},
    )
    lengths: list[int] = field(
        default_factory=lambda: [128],
        metadata={"help": "Tokens in a text. Operations and tables are measured at the first length."},
    )
    max_baseline_length: int = field(
        default=2048, metadata={"help": "Maximum length for models with attention, which would take too long."}
    )
    repetitions: int = field(default=2, metadata={"help": "Number of processes for each model and length."})
    output_dir: str | None = field(default=None, metadata={"help": "Folder of the report and its figure."})

    def __post_init__(self) -> None:
        """Raise ValueError for options that cannot be measured."""
        counts = ("batch_size", "inference_batch_size", "steps", "repetitions", "lengths", "num_threads", "num_tokens")
        for name in counts:
            if np.min(getattr(self, name)) < 1:
                raise ValueError(f"--{name} should be at least 1, but is {getattr(self, name)}.")
        unknown = [
            name for name in self.models if name not in BASELINES and not (config_folder(name) / CONFIG_NAME).exists()
        ]
        if unknown:
            raise ValueError(
                f"--models takes {', '.join(BASELINES)}, a recipe or the folder of a config, but not "
                f"{', '.join(unknown)}."
            )
        if unknown := [name for name in self.predictors if name not in PREDICTORS]:
            raise ValueError(f"--predictors takes {', '.join(PREDICTORS)}, but not {', '.join(unknown)}.")


def main() -> None:
    """Parse the command line, measure, and report."""
    with exit_on_error("Arguments"):
        (args,) = HfArgumentParser(BenchmarkArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    logging.basicConfig(format="%(message)s")
    for name in (__name__, "wave_hf"):
        logging.getLogger(name).setLevel(logging.INFO)
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
    if args.measure == "predictions":
        from wave_hf.analysis.benchmark.predictions import measure_predictions  # see below

        results["predictions"] = measure_predictions(args.lengths, args.repetitions, args)

    # Imported here, because the peak memory of a process counts from the memory of the process that started it.
    from wave_hf.analysis.benchmark.report import report

    print(report(results, args.output_dir))


def measure_models(args: BenchmarkArguments) -> dict[str, Any]:
    """Return the memory of an idle process, the medians of each model at each length, and the cases left out."""
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
    """Return whether texts are too long for a model with attention."""
    return length > args.max_baseline_length and load_config(name, length, args).model_type != WaveConfig.model_type


def in_own_process(measure: Callable[..., Result], *arguments: Any) -> Result:
    """Measure in a process of its own, which returns its memory before the next one starts."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, *arguments).result()
        except BrokenProcessPool as error:
            case = f"{measure.__name__}({', '.join(map(str, arguments[:-1]))})"
            raise SystemExit(f"{case}: the process ended, perhaps because it ran out of memory.") from error


def summarize(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each quantity over the processes."""
    return {quantity: statistics.median(run[quantity] for run in runs) for quantity in runs[0]}


def describe_machine(args: BenchmarkArguments) -> str:
    """Return a description of the hardware and the software that were measured."""
    device = torch.cuda.get_device_name() if args.device.type == "cuda" else describe_cpu()
    precision = "bfloat16 by autocast" if args.bf16 else "float32"
    return (
        f"{device}, torch {torch.__version__} with {torch.get_num_threads()} threads, transformers "
        f"{transformers.__version__}, {precision}, {'torch.compile' if args.torch_compile else 'eager'}"
    )


def describe_cpu() -> str:
    """Return the name of the processor if the system has it, its cores and the vector instructions torch uses."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name} ({platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()})"


if __name__ == "__main__":
    main()
