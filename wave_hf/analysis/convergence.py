"""How quickly networks learn from scratch, on the same batches."""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
import torch
from datasets import DatasetDict
from transformers import (
    AutoModelForSequenceClassification,
    EvalPrediction,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

Curve = list[tuple[float, float]]  # a step, and the value after it


@dataclass
class Training:
    """What is the same for all networks that are compared.

    Args:
        tokenizer: Turns the texts into tokens.
        rows: The splits `train` and `validation` with the columns `text` and `label`, a `ClassLabel`.
        steps: How many batches are trained on.
        batch_size: How many texts a batch has.
        max_length: How many tokens of a text are read.
        seed: Chooses the initial weights and the rows of each batch.
    """

    tokenizer: PreTrainedTokenizerBase
    rows: DatasetDict
    steps: int
    batch_size: int
    max_length: int
    seed: int


@dataclass
class Run:
    """A network and how it got there.

    Args:
        model: The trained network, on the CPU.
        loss: Mean training loss since the value before.
        accuracy: Accuracy on the validation rows.
    """

    model: PreTrainedModel
    loss: Curve
    accuracy: Curve

    def steps_to(self, accuracy: float) -> float | None:
        """Return the first evaluated step with that accuracy, or `None` if there is none."""
        return next((step for step, value in self.accuracy if value >= accuracy), None)


def initial_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """Return a classifier with random weights, the same for the same seed."""
    set_seed(seed)
    return AutoModelForSequenceClassification.from_config(config)


def train(
    config: PreTrainedConfig, training: Training, learning_rate: float, callbacks: list[TrainerCallback] | None = None
) -> Run:
    """Train a sequence classifier from scratch with transformers' `Trainer`.

    Each network sees the same rows in the same order, whatever random numbers it draws itself: they are shuffled once,
    and then read one after the other, from the start again if there are too few. AdamW warms up for a tenth of the
    steps and then goes down linearly. Loss and accuracy are taken about twenty times.

    Args:
        config: The shape of the network; it must have a label for each class.
        training: What is the same for all networks.
        learning_rate: The highest learning rate.
        callbacks: Callbacks of `Trainer`, such as a `GradientRecorder`.
    """
    interval = max(1, training.steps // 20)
    rows = training.rows.map(
        lambda batch: training.tokenizer(batch["text"], truncation=True, max_length=training.max_length), batched=True
    )
    with TemporaryDirectory() as folder:
        args = TrainingArguments(
            folder,
            max_steps=training.steps,
            per_device_train_batch_size=training.batch_size,
            per_device_eval_batch_size=training.batch_size,
            learning_rate=learning_rate,
            warmup_steps=training.steps // 10,
            train_sampling_strategy="sequential",
            logging_steps=interval,
            eval_strategy="steps",
            eval_steps=interval,
            save_strategy="no",
            report_to="none",
            dataloader_pin_memory=torch.accelerator.is_available(),
            seed=training.seed,
        )
        model = initial_model(config, training.seed)
        trainer = Trainer(
            model,
            args,
            train_dataset=rows["train"].shuffle(training.seed),
            eval_dataset=rows["validation"],
            processing_class=training.tokenizer,
            compute_metrics=accuracy,
            callbacks=callbacks,
        )
        trainer.train()
    history = trainer.state.log_history
    return Run(
        model=model.cpu().eval(),
        loss=[(entry["step"], entry["loss"]) for entry in history if "loss" in entry],
        accuracy=[(entry["step"], entry["eval_accuracy"]) for entry in history if "eval_accuracy" in entry],
    )


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Return the share of texts whose largest logit is that of their label."""
    return {"accuracy": float((np.argmax(prediction.predictions, axis=-1) == prediction.label_ids).mean())}
