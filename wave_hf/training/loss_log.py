# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The training loss of a run that resumes from its last step, and so has no step to compute one from."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class LogBeforeSaveCallback(TrainerCallback):
    """Logs the loss with every checkpoint, so that a run that resumes from the last step still knows its loss."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a log if a checkpoint is due."""
        control.should_log |= control.should_save

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a log if a checkpoint is due."""
        control.should_log |= control.should_save


def logged_loss(logs: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean loss of all steps as `train_loss`, from the means since the log before; empty without logs."""
    steps, total = 0.0, 0.0
    for log in logs:
        if "loss" in log:
            total += log["loss"] * (log["step"] - steps)
            steps = log["step"]
    return {"train_loss": total / steps} if steps else {}
