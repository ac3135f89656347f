# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Tokenizing rows: how long a text may be, and what the tokenizer keeps of that."""

import logging
from typing import Any

from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from ..configuration_wave import WaveConfig
from ..tokenization import smallest_limit, text_limits
from .arguments import DataArguments
from .errors import exit_on_error

logger = logging.getLogger(__name__)


def length_options(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, data_args: DataArguments, is_training: bool = False
) -> dict[str, Any]:
    """Return the truncation and padding options for calls of the tokenizer, which keeps the limit of this run.

    A text may have as many tokens as --max_seq_length, the position table of the network and, unless this run trains
    a network for which they alone matter, the tokenizer's `model_max_length` allow. That is set to the limit, so that
    whoever loads the tokenizer truncates as this run does.

    Raises:
        SystemExit: No token of a text would be left beside the special tokens.
    """
    with exit_on_error("Length of texts"):
        limits = text_limits(tokenizer, config)
        if is_training and config.model_type == WaveConfig.model_type:
            # That of an earlier training, or of another network.
            limits.pop("model_max_length of the tokenizer", None)
        reason, limit = smallest_limit(tokenizer, {"--max_seq_length": data_args.max_seq_length} | limits)
    log = logger.info if reason == "--max_seq_length" else logger.warning
    log(f"Texts are truncated to {limit} tokens: {reason}")
    tokenizer.model_max_length = limit
    padding = "max_length" if data_args.pad_to_max_length else False
    return {"truncation": True, "max_length": limit, "padding": padding}


def set_truncation(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the tokenizer save that it truncates to `model_max_length`, whatever it was last called with."""
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.enable_truncation(tokenizer.model_max_length, direction=tokenizer.truncation_side)
        tokenizer.backend_tokenizer.no_padding()


def map_options(rows: Dataset, data_args: DataArguments) -> dict[str, Any]:
    """Return the options of `Dataset.map` for tokenizing rows, whose columns are replaced."""
    return {
        "batched": True,
        "num_proc": data_args.preprocessing_num_workers,
        "remove_columns": rows.column_names,
        "load_from_cache_file": not data_args.overwrite_cache,
        "desc": "Tokenizing",
    }
