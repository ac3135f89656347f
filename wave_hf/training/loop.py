# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The surroundings of a training loop without Trainer, in `run_glue_no_trainer.py`: options, progress, saving."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_pt_utils import get_parameter_names

from ..files import writing
from .errors import exit_all_ranks, exit_on_error

PROGRESS_FILE = "progress.json"  # written last, so it marks a checkpoint complete
LOSSES_FILE = "losses.json"


@dataclass
class LoopArguments:
    """How to train the model, and where to save it."""

    output_dir: str = field(metadata={"help": "Folder for the model and its checkpoints."})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "Training batch size of each process."})
    per_device_eval_batch_size: int = field(default=8, metadata={"help": "Evaluation batch size of each process."})
    learning_rate: float = field(default=5e-5, metadata={"help": "Peak learning rate of AdamW."})
    weight_decay: float = field(default=0.0, metadata={"help": "Weight decay, except of biases and norms."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Maximum norm of the gradients."})
    num_train_epochs: int = field(default=3, metadata={"help": "Number of epochs."})
    max_train_steps: int | None = field(
        default=None, metadata={"help": "Number of optimizer steps. None: those of num_train_epochs."}
    )
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "Batches in each optimizer step."})
    gradient_checkpointing: bool = field(default=False, metadata={"help": "Save memory by computing layers twice."})
    mixed_precision: Literal["no", "fp16", "bf16", "fp8"] | None = field(
        default=None, metadata={"help": "Precision. None: that of accelerate's config."}
    )
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = field(default="linear", metadata={"help": "Schedule of the learning rate."})
    warmup_steps: float = field(
        default=0,
        metadata={"help": "Warm-up steps or, below 1, their share of all steps.", "aliases": ["--num_warmup_steps"]},
    )
    seed: int = field(default=42, metadata={"help": "Seed of new weights, dropout and the order of rows."})
    checkpointing_steps: str | None = field(
        default=None, metadata={"help": "Steps between two checkpoints, or 'epoch' for one after each epoch."}
    )
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "A checkpoint, or the output folder of a run to resume from its last one."}
    )
    with_tracking: bool = field(default=False, metadata={"help": "Log to experiment trackers."})
    report_to: str = field(default="all", metadata={"help": "The tracker to log to, with --with_tracking."})
    push_to_hub: bool = field(default=False, metadata={"help": "Push the model to the Hub after each epoch."})
    hub_model_id: str | None = field(default=None, metadata={"help": "Hub repository. None: named like output_dir."})
    hub_private_repo: bool | None = field(default=None, metadata={"help": "Whether a new repository is private."})
    hub_token: str | None = field(default=None, metadata={"help": "Hub token. None: the one of `hf auth login`."})

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that are impossible."""
        for option in ("num_train_epochs", "max_train_steps"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise ValueError(f"--{option} is {value}, but should be 1 or more")
        for option in ("learning_rate", "weight_decay", "max_grad_norm", "warmup_steps"):
            value = getattr(self, option)
            if math.isnan(value) or value < 0:
                raise ValueError(f"--{option} is {value}, but should be 0 or more")
        interval = self.checkpointing_steps
        if interval not in (None, "epoch") and not (interval.isdecimal() and int(interval)):
            raise ValueError(f"--checkpointing_steps is {interval!r}, but should be a number of steps or 'epoch'")

    def is_checkpoint_step(self, step: int) -> bool:
        """Return whether to write a checkpoint after this step."""
        interval = self.checkpointing_steps
        return interval is not None and interval.isdecimal() and step % int(interval) == 0


@dataclass
class Progress:
    """How far training has come.

    Attributes:
        epoch: The current epoch.
        batches: The finished batches of this epoch, on each process.
        global_step: The finished optimizer steps of all epochs.
        losses: The losses of the finished batches of the last epoch that has any, on this process.
    """

    epoch: int = 0
    batches: int = 0
    global_step: int = 0
    losses: list[float] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write the progress to a checkpoint as the last of its files."""
        content = asdict(self)
        write_json(folder / LOSSES_FILE, content.pop("losses"))
        write_json(folder / PROGRESS_FILE, content)

    @classmethod
    def load(cls, folder: Path) -> "Progress":
        """Read the progress of a checkpoint; those of earlier versions hold no losses."""
        losses = folder / LOSSES_FILE
        return cls(
            **json.loads((folder / PROGRESS_FILE).read_text()),
            losses=json.loads(losses.read_text()) if losses.exists() else [],
        )


def make_accelerator(args: LoopArguments) -> Accelerator:
    """Return the Accelerator of a run.

    Raises:
        SystemExit: The device or a library does not support an option.
    """
    with exit_on_error("Arguments"):
        return Accelerator(
            cpu=not torch.accelerator.is_available(),
            mixed_precision=args.mixed_precision,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            log_with=args.report_to if args.with_tracking else None,
            project_dir=args.output_dir,
        )


def start_trackers(args: LoopArguments, accelerator: Accelerator, project: str) -> None:
    """Start the experiment trackers, if there are any, with the options except tokens."""
    if args.with_tracking:
        options = {name: value for name, value in asdict(args).items() if "token" not in name}
        accelerator.init_trackers(project, options)


def parameter_groups(model: PreTrainedModel, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters with weight decay, and those without: biases and norms."""
    decaying = {name for name in get_parameter_names(model, [torch.nn.LayerNorm]) if not name.endswith("bias")}
    named = list(model.named_parameters())
    return [
        {"params": [parameter for name, parameter in named if name in decaying], "weight_decay": weight_decay},
        {"params": [parameter for name, parameter in named if name not in decaying], "weight_decay": 0.0},
    ]


def save_checkpoint(
    folder: Path,
    accelerator: Accelerator,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    progress: Progress,
) -> None:
    """Write everything that a resumed run needs, as prepared by the accelerator."""
    accelerator.save_state(str(folder))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        accelerator.unwrap_model(model).config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        progress.save(folder)


def save_model(
    args: LoopArguments, accelerator: Accelerator, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Write the model and the tokenizer to the output folder, for `from_pretrained`."""
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        accelerator.unwrap_model(model).save_pretrained(args.output_dir, state_dict=state)
        tokenizer.save_pretrained(args.output_dir)


def push_folder(args: LoopArguments, accelerator: Accelerator, message: str) -> None:
    """Push the output folder to the Hub, without its checkpoints.

    Raises:
        SystemExit: The Hub refuses.
    """
    with exit_all_ranks(), exit_on_error(f"The model is in {args.output_dir}, but not on the Hub"):
        if accelerator.is_main_process:
            huggingface_hub.upload_folder(
                repo_id=str(args.hub_model_id),
                folder_path=args.output_dir,
                commit_message=message,
                ignore_patterns=["_*", "step_*", "epoch_*"],
                token=args.hub_token,
            )


def write_json(file: Path, content: Any) -> None:
    """Write a json file atomically."""
    with writing(file) as stream:
        stream.write(json.dumps(content, indent=2) + "\n")
