# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Batches of texts of like length, so that little of them is padding, in an order that survives a resume."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import PredictionOutput

from wave_hf.model_card import ModelCardTrainer


class SeededLengthGroupedSampler(LengthGroupedSampler):
    """Groups rows of like length in an order that depends on nothing but the seed and the epoch.

    So a resumed run sees the rows in the order of the uninterrupted run, and so do all processes.
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
    """Tells the sampler its epoch before Trainer wraps the data loader to skip the batches of a resumed epoch.

    Through that wrapper accelerate does not reach the sampler if there are several processes.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Pass the epoch on."""
        kwargs["train_dataloader"].set_epoch(int(state.epoch))


class LengthGroupedTrainer(ModelCardTrainer):
    """Trainer whose batches hold texts of like length, so that little of them is padding.

    Training does so with --train_sampling_strategy group_by_length; unlike Trainer's, this order survives a resume.
    Evaluation does so always, and returns predictions in the order of the rows.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.add_callback(SetEpochCallback())

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        if train_dataset is None or self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        args = self.args
        batch_size = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        seed = args.seed if args.data_seed is None else args.data_seed
        return SeededLengthGroupedSampler(batch_size, text_lengths(train_dataset).tolist(), seed)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Any:
        return np.argsort(text_lengths(eval_dataset), kind="stable").tolist()

    def predict(self, test_dataset: Dataset, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Return what Trainer predicts, in the order of the rows and not of their lengths."""
        output = super().predict(test_dataset, *args, **kwargs)
        rows = np.argsort(self._get_eval_sampler(test_dataset))
        labels = None if output.label_ids is None else output.label_ids[rows]
        return output._replace(predictions=output.predictions[rows], label_ids=labels)


def text_lengths(rows: Dataset) -> np.ndarray:
    """Return the number of tokens of each row or, if it is a choice among texts, of its longest, `(N,)`."""
    ids = rows.with_format("arrow")[:]["input_ids"].combine_chunks()
    counts = ids.value_lengths().to_numpy()
    if not pa.types.is_list(ids.type.value_type):
        return counts
    return np.maximum.reduceat(ids.flatten().value_lengths().to_numpy(), np.cumsum(counts) - counts)
