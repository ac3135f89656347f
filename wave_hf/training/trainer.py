# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Training, evaluating and predicting with Trainer, in batches of texts of similar length."""

import csv
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PredictionOutput

from ..files import writing
from ..model_card import ModelCardTrainer, count_parameters
from .checks import check_options
from .data import check_same_rows
from .errors import exit_all_ranks, exit_on_error, exit_on_full_disk
from .loss_log import LogBeforeSaveCallback, logged_loss
from .sampling import SeededLengthGroupedSampler, SetEpochCallback, text_lengths
from .tasks import Task, check_finite
from .tokenizing import set_truncation

logger = logging.getLogger(__name__)


class LengthGroupedTrainer(ModelCardTrainer):
    """Trainer whose batches hold texts of similar length, so that they need little padding.

    Training groups by length with --train_sampling_strategy group_by_length; unlike Trainer's, this order survives a
    resume. Evaluation always groups by length, and returns predictions in the order of the rows. It takes all rows,
    whatever --dataloader_drop_last says, and of the outputs only the logits, which must be finite.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.add_callback(SetEpochCallback())
        self.add_callback(LogBeforeSaveCallback())

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Return the optimizer, or end the run if it does not take its options."""
        with exit_on_error("Optimizer"):
            return super().create_optimizer(*args, **kwargs)

    def create_scheduler(self, *args: Any, **kwargs: Any) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule of the learning rate, or end the run if it does not take its options."""
        with exit_on_error("Schedule of the learning rate"):
            return super().create_scheduler(*args, **kwargs)

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

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> torch.utils.data.DataLoader:
        """Return the batches of all rows."""
        with self._keeping_last_batch():
            return super().get_eval_dataloader(*args, **kwargs)

    def get_test_dataloader(self, *args: Any, **kwargs: Any) -> torch.utils.data.DataLoader:
        """Return the batches of all rows."""
        with self._keeping_last_batch():
            return super().get_test_dataloader(*args, **kwargs)

    @contextmanager
    def _keeping_last_batch(self) -> Iterator[None]:
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            yield
        finally:
            self.args.dataloader_drop_last = drop_last

    def prediction_step(self, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """Return the loss, the logits and the labels of a batch, without the other outputs of the model.

        Raises:
            SystemExit: A logit is not finite.
        """
        loss, outputs, labels = super().prediction_step(*args, **kwargs)
        if outputs is None:
            return loss, outputs, labels
        # The logits come first, one tensor for each kind of label: two in question answering.
        logits = outputs[: max(len(self.label_names), 1)] if isinstance(outputs, tuple) else (outputs,)
        # The least and the largest show it: both are NaN if a logit is. A look at each logit costs much more.
        check_finite(all(torch.stack(part.aminmax()).isfinite().all() for part in logits))
        return loss, logits if len(logits) > 1 else logits[0], labels


def make_trainer(
    args: TrainingArguments,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, Dataset | IterableDataset],
    compute_metrics: Callable[[EvalPrediction], dict[str, float]],
    trainer_class: Callable[..., Trainer] = LengthGroupedTrainer,
    **options: Any,
) -> Trainer:
    """Return a Trainer, unless the processes hold different rows or an option asks for what it cannot do.

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
        SystemExit: The processes hold different rows, or options contradict each other.
    """
    check_same_rows(splits)
    set_truncation(tokenizer)
    with exit_all_ranks(), exit_on_error("Arguments"):
        check_options(args, model)
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
        with exit_on_full_disk(args.output_dir):
            metrics = train(trainer, args.resume_from_checkpoint)
            trainer.save_model(_internal_call=True)  # a public call would push before anything is evaluated
            trainer.save_state()
        samples = {"train_samples": sizes["train"]} if "train" in sizes else {}
        report(trainer, "train", metrics | facts | samples)
    if args.do_eval:
        metrics = dict(facts)
        if "validation_mm" in splits:
            metrics |= {f"{name}_mm": value for name, value in trainer.evaluate(splits["validation_mm"]).items()}
        # Last, because the model card reports the last evaluation.
        samples = {"eval_samples": sizes["validation"]} if "validation" in sizes else {}
        report(trainer, "eval", metrics | trainer.evaluate() | samples)


def train(trainer: Trainer, checkpoint: str | None) -> dict[str, float]:
    """Train, and return the metrics; a run that resumes from its last step has the loss that was logged before."""
    # Before the training, which may rotate this checkpoint away.
    state_file = None if checkpoint is None else str(Path(checkpoint) / TRAINER_STATE_NAME)
    start = TrainerState.load_from_json(state_file).global_step if state_file else 0
    try:
        metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    except KeyError as error:
        if "metric_for_best_model" not in str(error):
            raise
        raise SystemExit(f"--metric_for_best_model: {error.args[0]}") from error
    if start == trainer.state.global_step:
        del metrics["train_loss"]  # Trainer's mean of no step
        metrics |= logged_loss(trainer.state.log_history)
    return metrics


def run_facts(model: PreTrainedModel, world_size: int, seed: int) -> dict[str, int]:
    """Return the facts of a run that its results are reported with: parameters, processes and seed."""
    return {**count_parameters(model), "world_size": world_size, "seed": seed}


def report(trainer: Trainer, split: str, metrics: dict[str, float]) -> None:
    """Print the metrics and write them to `{split}_results.json` and `all_results.json`."""
    trainer.log_metrics(split, metrics)
    with exit_on_full_disk(trainer.args.output_dir):
        trainer.save_metrics(split, metrics)


def predict(trainer: Trainer, rows: Dataset, task: Task, file_name: str, probabilities: bool) -> None:
    """Predict, and write the file of predictions."""
    logits: Any = trainer.predict(rows, metric_key_prefix="predict").predictions
    header, columns = ["prediction"], [[task.decode(prediction) for prediction in task.predictions(logits)]]
    if probabilities:
        header += task.label_names
        columns += [[f"{probability:.6f}" for probability in column] for column in task.probabilities(logits).T]
    if trainer.is_world_process_zero():
        with exit_on_full_disk(trainer.args.output_dir):
            write_predictions(Path(str(trainer.args.output_dir)) / file_name, header, columns)


def write_predictions(file: Path, header: list[str], columns: list[list[str]]) -> None:
    """Write tab-separated columns, with the index of each row first; the file is written atomically."""
    with writing(file) as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", *header])
        writer.writerows(zip(range(len(columns[0])), *columns, strict=True))
