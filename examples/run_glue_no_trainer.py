#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train a model on a task of GLUE, or on rows of one or two sentences of your own, with a loop you can change.

The rows and the models are those of run_glue.py. Accelerate runs the loop on one process or several:

    python run_glue_no_trainer.py --task_name rte --output_dir DIR
    accelerate launch --config_file cpu_2_processes.yaml run_glue_no_trainer.py --task_name rte --output_dir DIR
"""

import logging
import math
import time
from pathlib import Path
from typing import Any

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
from transformers.utils.logging import ERROR, WARNING, tqdm

from wave_hf.training.arguments import ModelArguments, parse_arguments
from wave_hf.training.checkpoints import find_checkpoint
from wave_hf.training.data import check_same_rows
from wave_hf.training.errors import exit_all_ranks, exit_on_full_disk
from wave_hf.training.glue import GlueArguments, load_glue
from wave_hf.training.hub import create_repository
from wave_hf.training.loading import load_model_and_tokenizer
from wave_hf.training.loop import (
    PROGRESS_FILE,
    LoopArguments,
    Progress,
    make_accelerator,
    parameter_groups,
    push_folder,
    save_checkpoint,
    save_model,
    start_trackers,
    write_json,
)
from wave_hf.training.rows import tokenize, training_texts
from wave_hf.training.sampling import SeededLengthGroupedSampler, text_lengths
from wave_hf.training.setup import check_launch, check_output_folder, log_recipe, setup_logging
from wave_hf.training.tasks import Metric, Task, score
from wave_hf.training.tokenizing import set_truncation
from wave_hf.training.trainer import run_facts

logger = logging.getLogger(__name__)


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, args = parse_arguments(ModelArguments, GlueArguments, LoopArguments)
        accelerator = make_accelerator(args)
        setup_logging(accelerator.is_main_process, WARNING if accelerator.is_main_process else ERROR)
        log_recipe(model_args)
        check_launch(accelerator.num_processes)
        if not args.resume_from_checkpoint:
            check_output_folder(Path(args.output_dir))

        # The rows of text, or text and text_pair, and the task that their labels define.
        config, task, rows, metric = load_glue(model_args, data_args, {"train", "validation"}, args.seed)

        # The model learns the task; a new tokenizer is trained on the training texts.
        task.write_to(config)
        checkpoint = find_checkpoint(args.resume_from_checkpoint, args.output_dir, PROGRESS_FILE)
        model, tokenizer = load_model_and_tokenizer(model_args, config, training_texts(rows), args.seed, checkpoint)
        splits = tokenize(rows, tokenizer, config, task, data_args)
        set_truncation(tokenizer)
        create_repository(args)

    check_same_rows(splits)
    with exit_on_full_disk(args.output_dir):
        TrainingLoop(args, accelerator, model, tokenizer, splits, task, metric).run(checkpoint)


class TrainingLoop:
    """Trains a model, evaluates it after each epoch, and saves it.

    Args:
        args: How to train.
        accelerator: Runs the model on its device, in its precision, on all processes.
        model: The model.
        tokenizer: Its tokenizer.
        splits: Tokenized rows: train, validation and perhaps validation_mm.
        task: The task.
        metric: The metrics to report.
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
        self.args, self.accelerator, self.tokenizer = args, accelerator, tokenizer
        self.task, self.metric = task, metric
        self.facts = run_facts(model, accelerator.num_processes, args.seed)
        self.progress = Progress()
        if args.gradient_checkpointing:
            model.gradient_checkpointing_enable()

        # Batches of rows of similar length; in training, in an order that depends only on the seed and the epoch.
        lengths = {split: text_lengths(rows).tolist() for split, rows in splits.items()}
        rows_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * accelerator.num_processes
        self.sampler = SeededLengthGroupedSampler(rows_per_step, lengths["train"], args.seed)
        train_batches = self.make_loader(splits["train"], args.per_device_train_batch_size, self.sampler)
        optimizer = torch.optim.AdamW(parameter_groups(model, args.weight_decay), lr=args.learning_rate)
        self.model, self.optimizer, self.train_batches = accelerator.prepare(model, optimizer, train_batches)
        self.eval_batches = {}
        for split, rows in splits.items():
            if split != "train":
                order = np.argsort(lengths[split]).tolist()
                batches = self.make_loader(rows, args.per_device_eval_batch_size, order)
                self.eval_batches[split] = accelerator.prepare(batches)

        steps_per_epoch = math.ceil(len(self.train_batches) / args.gradient_accumulation_steps)
        self.max_steps = args.max_train_steps or steps_per_epoch * args.num_train_epochs
        warmup_steps = args.warmup_steps if args.warmup_steps >= 1 else math.ceil(args.warmup_steps * self.max_steps)
        scheduler = get_scheduler(
            args.lr_scheduler_type,
            optimizer,
            # Accelerate moves the schedule one step for each process.
            num_warmup_steps=int(warmup_steps) * accelerator.num_processes,
            num_training_steps=self.max_steps * accelerator.num_processes,
        )
        self.scheduler = accelerator.prepare(scheduler)

    def make_loader(self, rows: Dataset, batch_size: int, sampler: Any) -> DataLoader:
        """Return a loader of padded batches."""
        collate = DataCollatorWithPadding(self.tokenizer)
        # Without a generator of its own, each pass would draw from the one that dropout uses.
        return DataLoader(rows, batch_size, sampler=sampler, collate_fn=collate, generator=torch.Generator())

    def run(self, checkpoint: str | None) -> None:
        """Train from the start or from a checkpoint, evaluate after each epoch, and save the model and the results."""
        args, accelerator, folder = self.args, self.accelerator, Path(self.args.output_dir)
        logger.info(f"This run: {self.facts}")
        start = time.perf_counter()
        set_seed(args.seed)
        start_trackers(args, accelerator, "glue")
        if checkpoint:
            accelerator.load_state(checkpoint)
            self.progress = Progress.load(Path(checkpoint))
        progress, is_quiet = self.progress, not accelerator.is_local_main_process
        bar = tqdm(total=self.max_steps, initial=progress.global_step, disable=is_quiet)
        metrics: dict[str, float] = {}
        while progress.global_step < self.max_steps:
            self.train_epoch(bar)
            progress.epoch, progress.batches = progress.epoch + 1, 0
            metrics = self.evaluate()
            logger.info(f"epoch {progress.epoch}: {metrics}")
            accelerator.log(metrics | {"epoch": progress.epoch}, step=progress.global_step)
            if args.checkpointing_steps == "epoch":
                self.save_checkpoint(f"epoch_{progress.epoch}")
            if args.push_to_hub:
                save_model(args, accelerator, self.model, self.tokenizer)
                push_folder(args, accelerator, f"Training in progress epoch {progress.epoch}")
        metrics = metrics or self.evaluate()  # nothing is left to train after a checkpoint of the last step
        save_model(args, accelerator, self.model, self.tokenizer)
        if accelerator.is_main_process:
            metrics |= self.facts | {"train_runtime": time.perf_counter() - start}
            write_json(folder / "all_results.json", metrics)
        if args.push_to_hub:
            push_folder(args, accelerator, "End of training")
        accelerator.end_training()

    def train_epoch(self, bar: Any) -> None:
        """Train to the end of the epoch, or of the training, from the batch that the progress has reached."""
        args, accelerator, progress = self.args, self.accelerator, self.progress
        self.model.train()
        self.sampler.set_epoch(progress.epoch)
        if progress.batches == 0:
            progress.losses = []
        for batch in skip_first_batches(self.train_batches, progress.batches):
            with accelerator.accumulate(self.model):
                loss = self.model(**batch, return_dict=True).loss
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.model.parameters(), args.max_grad_norm)
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
            progress.batches += 1
            progress.losses.append(loss.item())
            if accelerator.sync_gradients:
                progress.global_step += 1
                bar.update()
                if args.is_checkpoint_step(progress.global_step):
                    self.save_checkpoint(f"step_{progress.global_step}")
                if progress.global_step == self.max_steps:
                    break

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the metrics of the validation rows, those of mismatched ones with the suffix _mm, and the loss."""
        self.model.eval()
        metrics = {}
        for split, batches in self.eval_batches.items():
            parts = []
            for batch in batches:
                logits = self.model(**batch, return_dict=True).logits
                parts.append(self.accelerator.gather_for_metrics((logits, batch["labels"])))
            logits, labels = (torch.cat(tensors).float().cpu().numpy() for tensors in zip(*parts, strict=True))
            for name, value in score(self.task, self.metric, logits, labels).items():
                metrics[f"eval_{name}{split.removeprefix('validation')}"] = value
        losses = self.progress.losses
        return metrics | ({"train_loss": float(np.mean(losses))} if losses else {})

    def save_checkpoint(self, name: str) -> None:
        """Write a checkpoint to a folder of this name."""
        folder = Path(self.args.output_dir) / name
        save_checkpoint(folder, self.accelerator, self.model, self.tokenizer, self.progress)


if __name__ == "__main__":
    main()
