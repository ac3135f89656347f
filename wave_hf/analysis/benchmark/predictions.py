# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Measuring predictors, each in processes of its own that take turns: `benchmark.py --measure predictions`."""

import json
import os
import subprocess
import sys
import time
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers.utils.logging import tqdm

from . import predictors
from .measure import PredictionConditions
from .preparation import load_rows, prepare

AS_THEY_ARE = "rows"  # the validation rows, beside texts of given lengths

Row = dict[str, Any]


def measure_predictions(lengths: list[int], repetitions: int, conditions: PredictionConditions) -> list[Row]:
    """Train predictors, and measure each in several processes that take turns with those of the others.

    Args:
        lengths: About how many tokens texts have, beside the validation rows as they are.
        repetitions: Number of processes for each predictor.
        conditions: Which predictors and rows, and how long to measure.

    Returns:
        For each predictor: its `accuracy` on the validation rows, `disk_mb`, the medians of `memory_mb` and
        `first_prediction_s`, and, under `lengths`, for the rows as they are and for each length the `texts` and their
        `tokens`, those of the Wave Network, and the medians of `tokenize_s` and `predict_s` for all of them.
    """
    rows, task = load_rows(conditions)
    texts, labels = list(rows["validation"]["text"]), list(rows["validation"]["label"])
    with TemporaryDirectory() as folder:
        folders, tokenizer = prepare(conditions, rows, task, Path(folder))
        sets = {AS_THEY_ARE: texts}
        sets |= {str(length): cut_texts(texts, length, conditions.num_tokens, tokenizer) for length in lengths}
        job = {"rows": texts, "texts": sets, "steps": conditions.steps, "seconds": conditions.seconds}
        runs: dict[str, list[Row]] = {name: [] for name in folders}
        for name in tqdm(list(folders) * repetitions, desc="Measuring"):
            runs[name].append(run_predictor(name, folders[name], job, conditions.num_threads))
        sizes = {name: disk_size(folder) for name, folder in folders.items()}
    counts = {length: {"texts": len(set_), "tokens": count_tokens(set_, tokenizer)} for length, set_ in sets.items()}
    return [
        {
            "predictor": name,
            "accuracy": float(np.mean([found == label for found, label in zip(of[0]["labels"], labels, strict=True)])),
            "disk_mb": sizes[name] / 2**20,
            **{quantity: median(run[quantity] for run in of) for quantity in ("memory_mb", "first_prediction_s")},
            "lengths": {
                length: counts[length]
                | {part: median(run["times"][length][part] for run in of) for part in ("tokenize_s", "predict_s")}
                for length in sets
            },
        }
        for name, of in runs.items()
    ]


def cut_texts(texts: list[str], length: int, num_tokens: int, tokenizer: Tokenizer) -> list[str]:
    """Return texts of about `length` tokens, cut out of all texts one after the other, of `num_tokens` together.

    They begin anew if there is too little text.
    """
    words = list(chain.from_iterable(text.split() for text in texts))
    words_per_token = len(words) / max(count_tokens(texts, tokenizer), 1)
    size = max(round(length * words_per_token), 1)
    endless = cycle(words)
    return [" ".join(islice(endless, size)) for _ in range(max(num_tokens // length, 1))]


def count_tokens(texts: list[str], tokenizer: Tokenizer) -> int:
    """Return the number of tokens of all texts, without special tokens."""
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return sum(len(encoding) for encoding in encodings)


def disk_size(folder: Path) -> int:
    """Return the bytes of the files of a predictor."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def run_predictor(name: str, folder: Path, job: Row, num_threads: int) -> Row:
    """Measure a predictor in a process of its own.

    Raises:
        SystemExit: The process failed.
    """
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = os.environ | dict.fromkeys(threads, str(num_threads)) | {"TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, predictors.__file__, name, str(folder), str(time.time())]
    done = subprocess.run(command, input=json.dumps(job), env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name}: the process failed with the status {done.returncode}, see its messages above.")
    return json.loads(done.stdout.splitlines()[-1])
