# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Masked language modeling, for `run_mlm.py`: the options, the texts as token ids, the masks, and the metrics."""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from transformers import (
    DataCollatorForLanguageModeling,
    EvalPrediction,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from ..modeling_wave import IGNORE_INDEX
from .arguments import DataArguments
from .data import column_names, hold_out_and_limit, select_splits
from .rows import read_text_column
from .tokenizing import map_options
from .trainer import LengthGroupedTrainer

# Rows, or a stream of them.
Texts: TypeAlias = Dataset | IterableDataset

STREAMED_TEXTS_OF_TOKENIZER = 100_000


@dataclass
class MlmArguments(DataArguments):
    """Which texts are read, and how many tokens are masked."""

    file_formats: ClassVar[tuple[str, ...]] = (".csv", ".json", ".txt")

    text_column_name: str | None = field(
        default=None, metadata={"help": "Column of texts. None: text, or the first column."}
    )
    mlm_probability: float = field(default=0.15, metadata={"help": "Share of the tokens to predict."})
    line_by_line: bool = field(
        default=False,
        metadata={"help": "Make each text a row. Otherwise texts are joined and cut into rows of max_seq_length."},
    )
    streaming: bool = field(
        default=False, metadata={"help": "Read the texts while training instead of before; needs --max_steps."}
    )

    def __post_init__(self) -> None:
        """Raise ValueError for a share of tokens that is impossible."""
        super().__post_init__()
        if not 0 < self.mlm_probability <= 1:
            raise ValueError(f"--mlm_probability is {self.mlm_probability}, but should be above 0 and at most 1")


class SeededMasking(DataCollatorForLanguageModeling):
    """Masks tokens depending only on the seed and the batch, whose rows differ from epoch to epoch.

    A resumed run therefore masks the tokens that the uninterrupted run masks, and evaluations are comparable.
    """

    def torch_mask_tokens(self, inputs: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the masked token ids and, as labels, the ids of the tokens to predict, each `(B, T)`."""
        self.generator = self.get_generator((self.seed or 0) + zlib.crc32(inputs.numpy().tobytes()))
        return super().torch_mask_tokens(inputs, *args, **kwargs)


class MaskedLMTrainer(LengthGroupedTrainer):
    """Trainer that also reports the perplexity."""

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return the metrics, and the exponential of the loss as `perplexity`, infinite if it exceeds a float."""
        metrics = super().evaluate(*args, **kwargs)
        try:
            perplexity = math.exp(metrics["eval_loss"])
        except OverflowError:
            perplexity = math.inf
        return metrics | {"perplexity": perplexity}


def read_texts(
    raw: Mapping[str, Texts], data_args: MlmArguments, training_args: TrainingArguments, needed: set[str]
) -> Mapping[str, Texts]:
    """Reduce the needed splits to `text`, hold out validation rows if there are none, and limit their number.

    Raises:
        SystemExit: A split or the column is missing, a value is no text, or a stream lacks an option that it needs.
    """
    if data_args.streaming:
        check_streams(raw, needed, training_args)
    columns = column_names(next(iter(raw.values())))
    column = data_args.text_column_name or ("text" if "text" in columns else columns[0])
    raw = select_splits(raw, {split: split for split in ("train", "validation")}, needed, column)
    texts = {split: read_text_column(rows, split, column) for split, rows in raw.items()}
    if not data_args.streaming:
        return hold_out_and_limit(texts, data_args, needed, training_args.seed)
    limits = data_args.limits
    return {split: rows if limits[split] is None else rows.take(limits[split]) for split, rows in texts.items()}


def check_streams(raw: Mapping[str, Texts], needed: set[str], training_args: TrainingArguments) -> None:
    """Refuse options that need the number of rows, which is unknown for a stream."""
    if "train" in needed and training_args.max_steps <= 0:
        raise SystemExit("--streaming: the number of texts is unknown, so pass --max_steps to end the training")
    if "validation" in needed - raw.keys():
        raise SystemExit("--streaming: no rows can be held out of a stream, so pass --validation_file as well")
    training_args.train_sampling_strategy = "random"  # grouping by length needs all rows


def training_texts(texts: Mapping[str, Texts], data_args: MlmArguments) -> Iterable[str]:
    """Return the texts that a tokenizer is trained on: those of the training rows, or the first ones of a stream."""
    rows = (row["text"] for row in texts.get("train", ()))
    return islice(rows, STREAMED_TEXTS_OF_TOKENIZER if data_args.streaming else None)


def tokenize_texts(
    texts: Mapping[str, Texts], tokenizer: PreTrainedTokenizerBase, options: dict[str, Any], data_args: MlmArguments
) -> dict[str, Texts]:
    """Turn texts into token ids: a row for each text, or texts joined and cut into rows of `max_length` tokens.

    Args:
        texts: Rows of `text`.
        tokenizer: The tokenizer.
        options: Its options, see `length_options`.
        data_args: Whether to join the texts.

    Raises:
        SystemExit: A split has no text, or the tokenizer has no mask token.
    """
    if tokenizer.mask_token is None:
        raise SystemExit("The tokenizer has no mask token, which masked language modeling needs")

    def encode_lines(batch: dict[str, list]) -> dict[str, list]:
        return dict(tokenizer([text for text in batch["text"] if text.strip()], **options))

    def join_and_cut(batch: dict[str, list]) -> dict[str, list]:
        encoded = tokenizer(batch["text"], verbose=False)
        size = options["max_length"]
        joined = {name: list(chain.from_iterable(ids)) for name, ids in encoded.items()}
        return {name: [ids[i : i + size] for i in range(0, len(ids), size)] for name, ids in joined.items()}

    encode = encode_lines if data_args.line_by_line else join_and_cut
    tokenized: dict[str, Texts] = {}
    for split, rows in texts.items():
        if isinstance(rows, IterableDataset):
            tokenized[split] = rows.map(encode, batched=True, remove_columns=["text"])
            continue
        tokenized[split] = rows.map(encode, **map_options(rows, data_args))
        if not len(tokenized[split]):
            raise SystemExit(f"The {split} data has no text")
    return tokenized


def make_collator(
    tokenizer: PreTrainedTokenizerBase, max_length: int, data_args: MlmArguments, training_args: TrainingArguments
) -> SeededMasking:
    """Return the collator that pads and masks.

    With several processes, the first one reads a stream for all of them and joins their batches before it distributes
    the rows: then all batches are padded to `max_length`.
    """
    is_shared_stream = data_args.streaming and training_args.world_size > 1
    return SeededMasking(
        tokenizer,
        mlm_probability=data_args.mlm_probability,
        seed=training_args.seed,
        pad_to_multiple_of=max_length if is_shared_stream else None,
    )


def score_masked_tokens(output: EvalPrediction, mask_token_id: int) -> dict[str, float]:
    """Return the accuracy on all tokens to predict, and on those that were masked, kept and replaced."""
    labels, inputs, predictions = (np.asarray(part) for part in (output.label_ids, output.inputs, output.predictions))
    is_asked, is_masked, is_kept = labels != IGNORE_INDEX, inputs == mask_token_id, inputs == labels
    places = {
        "accuracy": is_asked,
        "accuracy_masked": is_asked & is_masked,
        "accuracy_kept": is_asked & is_kept,
        "accuracy_random": is_asked & ~is_masked & ~is_kept,
    }
    return {name: float((predictions == labels)[where].mean()) for name, where in places.items() if where.any()}
