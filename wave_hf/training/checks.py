# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Options that are refused before the work, because a run would fail, or report something else, after it."""

import math
from dataclasses import fields
from typing import Any

from transformers import PreTrainedModel, TrainingArguments
from transformers.utils import find_labels

# The smallest values of options, as far as the libraries do not check them before they are needed.
SMALLEST = {
    "dataloader_num_workers": 0,
    "eval_accumulation_steps": 1,
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 0,
    "per_device_eval_batch_size": 1,
    "per_device_train_batch_size": 1,
    "preprocessing_num_workers": 1,
    "torch_empty_cache_steps": 1,
}
NO_LIMIT = {"max_grad_norm": math.inf}


def check_numbers(arguments: Any) -> None:
    """Raise ValueError for numbers that would end a run, or spoil its result, only after some work."""
    for option in fields(arguments):
        name, value = option.name, getattr(arguments, option.name)
        if name.endswith("seed") and value is not None and not 0 <= value < 2**32:
            raise ValueError(f"--{name} is {value}, but should be at least 0 and less than 2**32")
        if name in SMALLEST and value is not None and value < SMALLEST[name]:
            raise ValueError(f"--{name} is {value}, but should be {SMALLEST[name]} or more")
        if isinstance(value, float) and not math.isfinite(value) and value != NO_LIMIT.get(name):
            raise ValueError(f"--{name} is {value}, but should be a finite number")


def check_options(args: TrainingArguments, model: PreTrainedModel) -> None:
    """Refuse options of Trainer that would fail, or change nothing, after the training."""
    if args.batch_eval_metrics:
        raise SystemExit("--batch_eval_metrics: the metrics are computed from all rows at once")
    if not args.eval_do_concat_batches:
        raise SystemExit("--eval_do_concat_batches False: the metrics are computed from all rows at once")
    if args.prediction_loss_only and args.do_predict:
        raise SystemExit("--prediction_loss_only: --do_predict needs more than the loss")
    labels = find_labels(type(model))
    if args.label_names not in (None, labels):
        raise SystemExit(f"--label_names is {args.label_names}, but the labels of the model are called {labels}")
    if args.dataloader_persistent_workers and not args.dataloader_num_workers:
        raise SystemExit("--dataloader_persistent_workers: there are no workers without --dataloader_num_workers")
    if not 0 <= args.label_smoothing_factor <= 1:
        raise SystemExit(f"--label_smoothing_factor is {args.label_smoothing_factor}, but should be from 0 to 1")
    if args.label_smoothing_factor:
        problem_type = model.config.problem_type or "single_label_classification"
        if "labels" not in labels or problem_type != "single_label_classification":
            raise SystemExit("--label_smoothing_factor: only labels of one class can be smoothed")
