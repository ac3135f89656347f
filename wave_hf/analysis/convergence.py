"""Training networks from scratch on the same batches, to compare how quickly they learn."""

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

Curve = list[tuple[float, float]]  # steps and the values after them


@dataclass
class Training:
    """The settings that all compared networks share.

    Args:
        tokenizer: The tokenizer of the texts.
        rows: The splits `train` and `validation` with the columns `text` and `label`, a `ClassLabel`.
        steps: Number of training steps.
        batch_size: Number of texts in a batch.
        max_length: Number of tokens that texts are truncated to.
        seed: Seed of the initial weights and of the order of the rows.
    """

    tokenizer: PreTrainedTokenizerBase
    rows: DatasetDict
    steps: int
    batch_size: int
    max_length: int
    seed: int


@dataclass
class Run:
    """A trained network and its learning curves.

    Args:
        model: The network in evaluation mode, on the CPU.
        loss: The mean training loss since the previous point.
        accuracy: The accuracy on the validation rows.
    """

    model: PreTrainedModel
    loss: Curve
    accuracy: Curve

    def steps_to(self, accuracy: float) -> float | None:
        """Return the first evaluated step with at least this accuracy, or `None` if there is none."""
        return next((step for step, value in self.accuracy if value >= accuracy), None)


def initial_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """Return a classifier with random weights that depend only on its config and the seed."""
    set_seed(seed)
    return AutoModelForSequenceClassification.from_config(config)


def train(
    config: PreTrainedConfig, training: Training, learning_rate: float, callbacks: list[TrainerCallback] | None = None
) -> Run:
    """Train a sequence classifier from scratch with transformers' `Trainer`.

    All networks see the same batches, whatever random numbers they draw: the rows are shuffled once and then read in
    order, repeatedly if there are too few. The learning rate of AdamW warms up for a tenth of the steps and then
    decays linearly. Loss and accuracy are recorded about twenty times.

    Args:
        config: Config of the network, with a label for each class.
        training: The shared settings.
        learning_rate: The peak learning rate.
        callbacks: Callbacks for `Trainer`, such as a `GradientRecorder`.
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
    """Return the accuracy, as a `compute_metrics` function of `Trainer`."""
    return {"accuracy": float((np.argmax(prediction.predictions, axis=-1) == prediction.label_ids).mean())}
