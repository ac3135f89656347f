# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Training, evaluating and predicting with Trainer, in batches of texts of similar length."""

import csv
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, IterableDataset
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import PredictionOutput

from ..files import writing
from ..model_card import ModelCardTrainer, count_parameters
from .data import check_same_rows, set_truncation
from .tasks import Task

logger = logging.getLogger(__name__)


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


class LengthGroupedTrainer(ModelCardTrainer):
    """Trainer whose batches hold texts of similar length, so that they need little padding.

    Training groups by length with --train_sampling_strategy group_by_length; unlike Trainer's, this order survives a
    resume. Evaluation always groups by length, and returns predictions in the order of the rows.
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
    """Return the number of tokens of each row or, in multiple choice, of its longest choice, `(N,)`."""
    ids = rows.with_format("arrow")[:]["input_ids"].combine_chunks()
    counts = ids.value_lengths().to_numpy()
    if not pa.types.is_list(ids.type.value_type):
        return counts
    return np.maximum.reduceat(ids.flatten().value_lengths().to_numpy(), np.cumsum(counts) - counts)


def make_trainer(
    args: TrainingArguments,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, Dataset | IterableDataset],
    compute_metrics: Callable[[EvalPrediction], dict[str, float]],
    trainer_class: Callable[..., Trainer] = LengthGroupedTrainer,
    **options: Any,
) -> Trainer:
    """Return a Trainer, unless the processes hold different rows.

    Call it outside of `exit_all_ranks`, because the processes communicate. Trainer creates the output folder. Whatever
    it saves of the tokenizer truncates texts to `model_max_length`, and does not pad them.

    Args:
        args: Trainer's arguments.
        model: The model to train.
        tokenizer: Its tokenizer.
        splits: Tokenized rows; `train` and `validation` as far as the run needs them.
        compute_metrics: As Trainer takes it.
        trainer_class: Makes the Trainer.
        **options: More arguments of `trainer_class`, such as `data_collator`.

    Raises:
        SystemExit: The processes hold different rows.
    """
    check_same_rows(splits)
    set_truncation(tokenizer)
    return trainer_class(
        model=model,
        args=args,
        train_dataset=splits.get("train"),
        eval_dataset=splits.get("validation"),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        **options,
    )


def train_evaluate_predict(
    trainer: Trainer, splits: dict[str, Dataset], task: Task, predictions: str, probabilities: bool = False
) -> None:
    """Train, evaluate and predict, as far as the command line asks for it.

    Args:
        trainer: Holds model, rows and arguments.
        splits: Tokenized rows: train, validation and test as far as the run needs them; validation_mm and test_mm if
            there is a second kind of them.
        task: The task.
        predictions: Name of the file of predictions, without suffix.
        probabilities: Whether to write the probability of each label to that file.
    """
    train_and_evaluate(trainer, splits)
    if trainer.args.do_predict:
        predict(trainer, splits["test"], task, f"{predictions}.txt", probabilities)
        if "test_mm" in splits:
            predict(trainer, splits["test_mm"], task, f"{predictions}-mm.txt", probabilities)


def train_and_evaluate(trainer: Trainer, splits: Mapping[str, Dataset | IterableDataset]) -> None:
    """Train and evaluate, as far as the command line asks for it; see `train_evaluate_predict`."""
    args = trainer.args
    facts = run_facts(trainer.model, args.world_size, args.seed)  # type: ignore[arg-type]
    logger.info(f"This run: {facts}")
    sizes = {split: len(rows) for split, rows in splits.items() if isinstance(rows, Dataset)}
    if args.do_train:
        result = trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        trainer.save_model(_internal_call=True)  # a public call would push before anything is evaluated
        trainer.save_state()
        samples = {"train_samples": sizes["train"]} if "train" in sizes else {}
        report(trainer, "train", result.metrics | facts | samples)
    if args.do_eval:
        metrics: dict[str, float] = dict(facts)
        if "validation_mm" in splits:
            metrics |= {f"{name}_mm": value for name, value in trainer.evaluate(splits["validation_mm"]).items()}
        # Last, because the model card reports the last evaluation.
        samples = {"eval_samples": sizes["validation"]} if "validation" in sizes else {}
        report(trainer, "eval", metrics | trainer.evaluate() | samples)


def run_facts(model: PreTrainedModel, world_size: int, seed: int) -> dict[str, int]:
    """Return the facts of a run that its results are reported with: parameters, processes and seed."""
    return {**count_parameters(model), "world_size": world_size, "seed": seed}


def report(trainer: Trainer, split: str, metrics: dict[str, float]) -> None:
    """Print the metrics and write them to `{split}_results.json` and `all_results.json`."""
    trainer.log_metrics(split, metrics)
    trainer.save_metrics(split, metrics)


def predict(trainer: Trainer, rows: Dataset, task: Task, file_name: str, probabilities: bool) -> None:
    """Predict, and write the file of predictions."""
    logits: Any = trainer.predict(rows, metric_key_prefix="predict").predictions
    header, columns = ["prediction"], [[task.decode(prediction) for prediction in task.predictions(logits)]]
    if probabilities:
        header += task.label_names
        columns += [[f"{probability:.6f}" for probability in column] for column in task.probabilities(logits).T]
    if trainer.is_world_process_zero():
        write_predictions(Path(str(trainer.args.output_dir)) / file_name, header, columns)


def write_predictions(file: Path, header: list[str], columns: list[list[str]]) -> None:
    """Write tab-separated columns, with the index of each row first; the file is written atomically."""
    with writing(file) as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", *header])
        writer.writerows(zip(range(len(columns[0])), *columns, strict=True))


def argmax_logits(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the class of the highest logit of each token, `(B, T)`, which is all that metrics of tokens need."""
    return logits.argmax(dim=-1)
