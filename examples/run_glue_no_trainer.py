#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train a model on a task of GLUE, or on rows of one or two sentences of your own, with a loop of your own.

The same rows and models as run_glue.py, without Trainer: the loop is here to be changed. Accelerate runs it on one
process or many.

    python examples/run_glue_no_trainer.py --task_name rte --output_dir DIR
    accelerate launch --config_file examples/accelerate/cpu_2_processes.yaml examples/run_glue_no_trainer.py ...
"""

import json
import logging
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torch
from accelerate import Accelerator, skip_first_batches
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_scheduler,
    set_seed,
)
from transformers.trainer_pt_utils import get_parameter_names
from transformers.utils.logging import ERROR, WARNING, tqdm

from wave_hf.files import writing
from wave_hf.training.arguments import ModelArguments, parse_arguments
from wave_hf.training.checkpoints import find_checkpoint
from wave_hf.training.data import check_same_rows, set_truncation
from wave_hf.training.errors import exit_all_ranks, exit_on_error
from wave_hf.training.glue import GlueArguments, load_glue
from wave_hf.training.hub import create_repository
from wave_hf.training.loading import load_model_and_tokenizer
from wave_hf.training.rows import tokenize, training_texts
from wave_hf.training.sampling import SeededLengthGroupedSampler, text_lengths
from wave_hf.training.setup import check_launch, check_output_folder, log_recipe, setup_logging
from wave_hf.training.tasks import Metric, Task, score
from wave_hf.training.trainer import run_facts

PROGRESS_FILE = "progress.json"

logger = logging.getLogger(__name__)


@dataclass
class LoopArguments:
    """How the model is trained, and what becomes of it."""

    output_dir: str = field(metadata={"help": "Where the model and its checkpoints are written."})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "Rows in a batch of each process."})
    per_device_eval_batch_size: int = field(default=8, metadata={"help": "The same, when evaluating."})
    learning_rate: float = field(default=5e-5, metadata={"help": "Peak learning rate of AdamW."})
    weight_decay: float = field(default=0.0, metadata={"help": "Weight decay, except of biases and norms."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradients are scaled down to this norm."})
    num_train_epochs: int = field(default=3, metadata={"help": "Passes over the rows."})
    max_train_steps: int | None = field(default=None, metadata={"help": "Steps of the optimizer, instead of epochs."})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "Batches of each step."})
    gradient_checkpointing: bool = field(default=False, metadata={"help": "Save memory, compute layers twice."})
    mixed_precision: str | None = field(
        default=None, metadata={"help": "no, fp16 or bf16. None: what accelerate's config says."}
    )
    lr_scheduler_type: str = field(default="linear", metadata={"help": "Schedule of the learning rate."})
    warmup_steps: float = field(
        default=0, metadata={"help": "Warm-up: steps or, below 1, their share.", "aliases": ["--num_warmup_steps"]}
    )
    seed: int = field(default=42, metadata={"help": "Seed of weights, dropout and the order of rows."})
    checkpointing_steps: str | None = field(
        default=None, metadata={"help": "Write a checkpoint every so many steps, or each 'epoch'."}
    )
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "A checkpoint, or the output folder of a run: its last one."}
    )
    with_tracking: bool = field(default=False, metadata={"help": "Log to experiment trackers."})
    report_to: str = field(default="all", metadata={"help": "Which of them, with --with_tracking."})
    push_to_hub: bool = field(default=False, metadata={"help": "Push the model to the Hub after each epoch."})
    hub_model_id: str | None = field(default=None, metadata={"help": "Its repository. None: named by output_dir."})
    hub_private_repo: bool | None = field(default=None, metadata={"help": "Whether it is private, if it is new."})
    hub_token: str | None = field(default=None, metadata={"help": "Token for it. None: the one of `hf auth login`."})

    def __post_init__(self) -> None:
        """Raise ValueError for a checkpoint interval that is none."""
        interval = self.checkpointing_steps
        if interval not in (None, "epoch") and not (interval.isdigit() and int(interval)):
            raise ValueError(f"--checkpointing_steps is {interval!r}, but should be a number of steps or 'epoch'")


@dataclass
class Progress:
    """How far training has come: epoch and batches of it are done, and global_step steps of the optimizer in all."""

    epoch: int = 0
    batches: int = 0
    global_step: int = 0


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, args = parse_arguments(ModelArguments, GlueArguments, LoopArguments)
        accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),
            mixed_precision=args.mixed_precision,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            log_with=args.report_to if args.with_tracking else None,
            project_dir=args.output_dir,
        )
        setup_logging(accelerator.is_main_process, WARNING if accelerator.is_main_process else ERROR)
        log_recipe(model_args)
        check_launch(accelerator.num_processes)
        if not args.resume_from_checkpoint:
            check_output_folder(Path(args.output_dir))
        config, task, splits, metric = load_glue(model_args, data_args, {"train", "validation"}, args.seed)
        checkpoint = find_checkpoint(args.resume_from_checkpoint, args.output_dir, PROGRESS_FILE)
        task.write_to(config)
        model, tokenizer = load_model_and_tokenizer(model_args, config, training_texts(splits), args.seed, checkpoint)
        splits = tokenize(splits, tokenizer, config, task, data_args)
        set_truncation(tokenizer)
        create_repository(args)
    check_same_rows(splits)
    Loop(args, accelerator, model, tokenizer, splits, task, metric).run(checkpoint)


class Loop:
    """Trains a model, evaluates it after each epoch, and saves it.

    Args:
        args: How.
        accelerator: Where, and in which precision.
        model: The model.
        tokenizer: Its tokenizer.
        splits: Rows as token ids: train, validation and perhaps validation_mm.
        task: What is predicted.
        metric: What is reported.
    """

    def __init__(
        self,
        args: LoopArguments,
        accelerator: Accelerator,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        splits: dict[str, Dataset],
        task: Task,
        metric: Metric,
    ):
        self.args, self.accelerator, self.tokenizer, self.task, self.metric = (
            args,
            accelerator,
            tokenizer,
            task,
            metric,
        )
        self.facts = run_facts(model, accelerator.num_processes, args.seed)
        self.progress = Progress()
        if args.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        train_rows = splits.pop("train")
        batch_size = args.per_device_train_batch_size * args.gradient_accumulation_steps * accelerator.num_processes
        self.sampler = SeededLengthGroupedSampler(batch_size, text_lengths(train_rows).tolist(), args.seed)
        train_batches = self.batches(train_rows, args.per_device_train_batch_size, self.sampler)
        optimizer = torch.optim.AdamW(parameter_groups(model, args.weight_decay), lr=args.learning_rate)
        self.model, self.optimizer, self.train_batches = accelerator.prepare(model, optimizer, train_batches)
        self.eval_batches = {
            split: accelerator.prepare(
                self.batches(rows, args.per_device_eval_batch_size, np.argsort(text_lengths(rows)).tolist())
            )
            for split, rows in splits.items()
        }
        steps_of_epoch = math.ceil(len(self.train_batches) / args.gradient_accumulation_steps)
        self.max_steps = args.max_train_steps or steps_of_epoch * args.num_train_epochs
        self.num_epochs = math.ceil(self.max_steps / steps_of_epoch)
        warmup_steps = args.warmup_steps if args.warmup_steps >= 1 else math.ceil(args.warmup_steps * self.max_steps)
        # The schedule moves one step for each process.
        self.scheduler = accelerator.prepare(
            get_scheduler(
                args.lr_scheduler_type,
                optimizer,
                num_warmup_steps=int(warmup_steps) * accelerator.num_processes,
                num_training_steps=self.max_steps * accelerator.num_processes,
            )
        )

    def batches(self, rows: Dataset, batch_size: int, sampler: Any) -> DataLoader:
        """Return a loader of padded batches."""
        # A generator of its own: else each pass takes a number from the one that dropout depends on.
        generator = torch.Generator()
        collate = DataCollatorWithPadding(self.tokenizer)
        return DataLoader(rows, batch_size, sampler=sampler, collate_fn=collate, generator=generator)

    def run(self, checkpoint: str | None) -> None:
        """Train from the start or from a checkpoint, evaluate after each epoch, and save what came of it."""
        args, accelerator = self.args, self.accelerator
        logger.info(f"This run: {self.facts}")
        start = time.perf_counter()
        set_seed(args.seed)
        if args.with_tracking:
            accelerator.init_trackers(
                "glue", {name: value for name, value in asdict(args).items() if "token" not in name}
            )
        if checkpoint:
            accelerator.load_state(checkpoint)
            self.progress = Progress(**json.loads((Path(checkpoint) / PROGRESS_FILE).read_text()))
        bar = tqdm(
            total=self.max_steps, initial=self.progress.global_step, disable=not accelerator.is_local_main_process
        )
        metrics: dict[str, float] = {}
        while self.progress.global_step < self.max_steps:
            loss = self.train_epoch(bar)
            metrics = self.evaluate() | {"train_loss": loss}
            logger.info(f"epoch {self.progress.epoch}: {metrics}")
            accelerator.log(metrics | {"epoch": self.progress.epoch}, step=self.progress.global_step)
            if args.checkpointing_steps == "epoch":
                self.save_checkpoint(f"epoch_{self.progress.epoch}")
            if args.push_to_hub:
                self.push(f"Training in progress epoch {self.progress.epoch}")
        metrics = metrics or self.evaluate()  # a checkpoint of the last step leaves nothing to train
        self.save_model(Path(args.output_dir))
        if accelerator.is_main_process:
            metrics |= self.facts | {"train_runtime": time.perf_counter() - start}
            write_json(Path(args.output_dir) / "all_results.json", metrics)
        if args.push_to_hub:
            self.push("End of training")
        accelerator.end_training()

    def train_epoch(self, bar: Any) -> float:
        """Train to the end of the epoch, or of training, and return the mean loss of this process."""
        progress, accelerator = self.progress, self.accelerator
        self.model.train()
        self.sampler.set_epoch(progress.epoch)
        losses = []
        for batch in skip_first_batches(self.train_batches, progress.batches):
            progress.batches += 1
            with accelerator.accumulate(self.model):
                loss = self.model(**batch).loss
                losses.append(loss.item())
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
            if accelerator.sync_gradients:
                progress.global_step += 1
                bar.update()
                interval = self.args.checkpointing_steps
                if interval and interval.isdigit() and progress.global_step % int(interval) == 0:
                    self.save_checkpoint(f"step_{progress.global_step}")
                if progress.global_step == self.max_steps:
                    break
        progress.epoch, progress.batches = progress.epoch + 1, 0
        return float(np.mean(losses))

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of all validation rows; those of mismatched ones end in _mm."""
        self.model.eval()
        metrics = {}
        for split, batches in self.eval_batches.items():
            parts = [self.accelerator.gather_for_metrics(self.predict(batch)) for batch in batches]
            logits, labels = (torch.cat(tensors).float().cpu().numpy() for tensors in zip(*parts, strict=True))
            suffix = split.removeprefix("validation")
            for name, value in score(self.task, self.metric, logits, labels).items():
                metrics[f"eval_{name}{suffix}"] = value
        return metrics

    @torch.no_grad()
    def predict(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and labels of a batch."""
        return self.model(**batch).logits, batch["labels"]

    def save_checkpoint(self, name: str) -> None:
        """Write all it takes to go on; the file of the progress comes last and tells that the rest is complete."""
        folder = Path(self.args.output_dir) / name
        self.accelerator.save_state(str(folder))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.accelerator.unwrap_model(self.model).config.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            write_json(folder / PROGRESS_FILE, asdict(self.progress))

    def save_model(self, folder: Path) -> None:
        """Write model and tokenizer as `from_pretrained` wants them."""
        state = self.accelerator.get_state_dict(self.model)
        if self.accelerator.is_main_process:
            self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=state)
            self.tokenizer.save_pretrained(folder)

    def push(self, message: str) -> None:
        """Push the model, without its checkpoints."""
        args, folder = self.args, Path(self.args.output_dir)
        self.save_model(folder)
        with exit_all_ranks(), exit_on_error(f"The model is in {folder}, but not on the Hub"):
            if self.accelerator.is_main_process:
                huggingface_hub.upload_folder(
                    repo_id=str(args.hub_model_id),
                    folder_path=folder,
                    commit_message=message,
                    ignore_patterns=["step_*", "epoch_*"],
                    token=args.hub_token,
                )


def parameter_groups(model: PreTrainedModel, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters that decay, and those that do not: biases and norms."""
    decaying = {name for name in get_parameter_names(model, [torch.nn.LayerNorm]) if not name.endswith("bias")}
    named = list(model.named_parameters())
    return [
        {"params": [parameter for name, parameter in named if name in decaying], "weight_decay": weight_decay},
        {"params": [parameter for name, parameter in named if name not in decaying], "weight_decay": 0.0},
    ]


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a json file that appears when it is complete."""
    with writing(file) as stream:
        stream.write(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
