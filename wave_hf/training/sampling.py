# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The order of training rows: batches of texts of similar length."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler


class SeededLengthGroupedSampler(LengthGroupedSampler):
    """Groups rows of similar length in an order that depends only on the seed and the epoch.

    A resumed run therefore sees the rows in the order of the uninterrupted run, and so do all processes.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


class SetEpochCallback(TrainerCallback):
    """Passes the epoch to the sampler before Trainer wraps the data loader to skip the batches of a resumed epoch.

    On several processes accelerate does not reach the sampler through that wrapper.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch of the data loader."""
        kwargs["train_dataloader"].set_epoch(int(state.epoch))


def text_lengths(rows: Dataset) -> np.ndarray:
    """Return the number of tokens of each row or, in multiple choice, of its longest choice, `(N,)`."""
    ids = rows.with_format("arrow")[:]["input_ids"].combine_chunks()
    counts = ids.value_lengths().to_numpy()
    if not pa.types.is_list(ids.type.value_type):
        return counts
    return np.maximum.reduceat(ids.flatten().value_lengths().to_numpy(), np.cumsum(counts) - counts)
