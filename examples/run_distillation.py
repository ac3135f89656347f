#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
r"""Distil trained classifiers, the teachers, into a smaller one.

The network learns the teachers' logits beside the labels, on texts with and without labels; options and files are
those of run_classification.py, which also fine-tunes a teacher:

    python examples/run_distillation.py --teacher_model_name_or_path TEACHER --train_file TRAIN.csv --do_train \
        --do_eval --output_dir DIR
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from common import (
    IGNORE_INDEX,
    Metric,
    ModelArguments,
    Task,
    check_formats,
    create_repository,
    exit_all_ranks,
    make_trainer,
    needed_splits,
    prepare_for_trainer,
    publish,
    run,
    make_compute_metrics,
    start,
)
from datasets import Dataset, DatasetDict, concatenate_datasets
from length_grouping import LengthGroupedTrainer
from rows import load_file
from run_classification import DataTrainingArguments, load_data, read_splits
from teachers import Inference, Teacher, assign_teachers, mix_texts, reword_texts
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

logger = logging.getLogger("examples.run_distillation")

# Rows of text and label (None if there is none), and the teachers that label them.
LabelledBatch = tuple[Dataset, list[Teacher]]


@dataclass
class DistillationArguments(DataTrainingArguments):
    """Which rows are read, who labels them, and how the network learns from both."""

    teacher_model_name_or_path: list[str] = field(
        default_factory=list, metadata={"help": "Teachers: folders or Hub ids of trained classifiers."}
    )
    teacher_train_files: list[str] = field(
        default_factory=list,
        metadata={"help": "What each teacher was trained on, csv or json: only others label these texts, if any."},
    )
    teacher_logits_dir: str | None = field(
        default=None, metadata={"help": "Where teachers' logits are kept. None: beside the cached rows."}
    )
    teacher_bf16: bool = field(default=False, metadata={"help": "Let teachers compute in bfloat16."})
    unlabeled_files: list[str] = field(
        default_factory=list, metadata={"help": "More texts, csv or json, which the teachers alone label."}
    )
    mixed_texts: int = field(
        default=0, metadata={"help": "Texts to make for each text, of spans of it and another, for teachers to label."}
    )
    reworded_texts: int = field(
        default=0, metadata={"help": "Texts to make for each text, with similar words in place of some."}
    )
    augmentation_seed: int = field(
        default=42, metadata={"help": "Seed of these two; unlike --seed, another needs new logits."}
    )
    temperature: float = field(default=2.0, metadata={"help": "Divides the logits: above 1 for softer labels."})
    hard_loss_weight: float = field(
        default=0.1, metadata={"help": "Weight of the loss on the labels; that on the teachers' has the rest."}
    )

    def __post_init__(self) -> None:
        """Raise ValueError for values that are impossible or contradict each other."""
        super().__post_init__()
        check_formats([*self.teacher_train_files, *self.unlabeled_files])
        teachers, files = len(self.teacher_model_name_or_path), len(self.teacher_train_files)
        if teachers == 0:
            raise ValueError("--teacher_model_name_or_path should name one teacher at least")
        if files not in (0, teachers):
            raise ValueError(
                f"--teacher_train_files names {files} files, but should name one for each of {teachers} teachers"
            )
        if self.temperature <= 0:
            raise ValueError(f"--temperature is {self.temperature}, but should be above 0")
        if not 0 <= self.hard_loss_weight <= 1:
            raise ValueError(f"--hard_loss_weight is {self.hard_loss_weight}, but should lie between 0 and 1")
        for option in ("mixed_texts", "reworded_texts"):
            if getattr(self, option) < 0:
                raise ValueError(f"--{option} is {getattr(self, option)}, but should be 0 or more")


class DistillationTrainer(LengthGroupedTrainer):
    """Trainer whose loss is `distillation_loss` where rows have `teacher_logits`, and the model's own elsewhere."""

    def __init__(self, temperature: float, hard_loss_weight: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False  # this loss is a mean over the batch
        self.temperature = temperature
        self.hard_loss_weight = hard_loss_weight

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss, and the model's outputs if asked for."""
        if "teacher_logits" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        teacher_logits, labels = inputs.pop("teacher_logits"), inputs.pop("labels")
        outputs = model(**inputs)
        loss = distillation_loss(outputs.logits, teacher_logits, labels, self.temperature, self.hard_loss_weight)
        return (loss, outputs) if return_outputs else loss


def distillation_loss(
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    hard_loss_weight: float,
) -> torch.Tensor:
    """Return the mean of a hard and a soft loss (Hinton et al., arXiv:1503.02531), weighted.

    The hard one is cross entropy, 0 for rows without a label; the soft one is T^2 KL(teacher || student) of the
    probabilities at temperature T.

    Args:
        logits: The student's, `(B, num_labels)`, any floating dtype.
        teacher_logits: `(B, num_labels)`.
        labels: Class ids `(B,)`, int64, `IGNORE_INDEX` for rows without one.
        temperature: T, above 0.
        hard_loss_weight: Weight of the hard loss, 0 to 1; the soft one has the rest.

    Returns:
        A scalar, float32.
    """
    logits, teacher_logits = logits.float(), teacher_logits.float()
    hard = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum") / len(logits)
    student = nn.functional.log_softmax(logits / temperature, dim=-1)
    teacher = nn.functional.log_softmax(teacher_logits / temperature, dim=-1)
    soft = temperature**2 * nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return hard_loss_weight * hard + (1 - hard_loss_weight) * soft


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, training_args = start(DistillationArguments)
        if not training_args.do_train:
            raise SystemExit("Nothing to distil: pass --do_train, or use the trained model with run_classification.py")
        model, tokenizer, task, splits, metric, lessons = build(model_args, data_args, training_args)
        create_repository(training_args)
    with training_args.main_process_first():
        logits = label(lessons, task, data_args)
    splits["train"] = splits["train"].add_column("teacher_logits", logits.tolist())
    training_args.remove_unused_columns = False  # they would be one, as they are no input of the network
    trainer_class = partial(
        DistillationTrainer, temperature=data_args.temperature, hard_loss_weight=data_args.hard_loss_weight
    )
    trainer = make_trainer(training_args, model, tokenizer, splits, make_compute_metrics(task, metric), trainer_class)
    run(trainer, splits, task, "predict_results", data_args.output_probabilities)
    publish(trainer, model_args, data_args)


def build(
    model_args: ModelArguments, data_args: DistillationArguments, training_args: TrainingArguments
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Task, dict[str, Dataset], Metric, list[LabelledBatch]]:
    """Return the model, its tokenizer, the task, the rows as token ids, the metric, and the lessons.

    The training rows are those of all lessons, in their order.
    """
    config, task, splits, metric = load_data(model_args, data_args, needed_splits(training_args))
    if task.problem_type != "single_label_classification":
        raise SystemExit(f"Only one label a text can be distilled, but the training data is of {task.problem_type}")
    teachers = load_teachers(model_args, data_args, training_args, task)
    lessons = prepare_lessons(add_unlabeled(splits["train"], model_args, data_args, task), teachers, data_args)
    splits["train"] = concatenate_datasets([rows for rows, _ in lessons])
    model, tokenizer, tokenized = prepare_for_trainer(model_args, data_args, training_args, config, task, splits)
    return model, tokenizer, task, tokenized, metric, lessons


def load_teachers(
    model_args: ModelArguments, data_args: DistillationArguments, training_args: TrainingArguments, task: Task
) -> list[Teacher]:
    """Load the teachers, and what each has seen."""
    batch_size, device = training_args.per_device_eval_batch_size, training_args.device
    inference = Inference(data_args.max_seq_length, batch_size, device, data_args.teacher_bf16)
    names = data_args.teacher_model_name_or_path
    seen = [read_texts(file, model_args, data_args, task)["text"] for file in data_args.teacher_train_files]
    hub_options = replace(model_args, model_revision="main").hub_options  # the revision is the student's
    return [
        Teacher(name, task, inference, texts, **hub_options)
        for name, texts in zip(names, seen or [()] * len(names), strict=True)
    ]


def read_texts(file: str, model_args: ModelArguments, data_args: DistillationArguments, task: Task) -> Dataset:
    """Read a file by the options for the training rows."""
    return read_splits(DatasetDict({file: load_file(file, model_args.cache_dir)}), task, data_args)[file]


def add_unlabeled(rows: Dataset, model_args: ModelArguments, data_args: DistillationArguments, task: Task) -> Dataset:
    """Add the rows without labels to those with."""
    parts = [rows]
    for file in data_args.unlabeled_files:
        texts = read_texts(file, model_args, data_args, task)
        if "label" in texts.column_names:
            raise SystemExit(
                f"--unlabeled_files: {file} has a column {data_args.label_column_name}: remove it, or add its rows to "
                "the training data"
            )
        parts.append(without_labels(texts["text"], rows))
    return concatenate_datasets(parts)


def without_labels(texts: Any, like: Dataset) -> Dataset:
    """Return rows of these texts with the columns of others, and no labels."""
    return Dataset.from_dict({"text": list(texts), "label": [None] * len(texts)}, features=like.features)


def prepare_lessons(rows: Dataset, teachers: list[Teacher], data_args: DistillationArguments) -> list[LabelledBatch]:
    """Let the teachers that have not seen a row label it, and all of them the texts that are made of it."""
    lessons = []
    for places, group in assign_teachers(rows["text"], teachers).items():
        lesson = rows.select(group)
        lessons.append((lesson, [teachers[place] for place in places]))
        made = make_texts(lesson["text"][:], teachers[places[0]], data_args)
        lessons.extend((without_labels(texts, rows), teachers) for texts in made)
    return lessons


def make_texts(texts: list[str], teacher: Teacher, data_args: DistillationArguments) -> Iterator[list[str]]:
    """Yield rounds of as many new texts; one more leaves the others as they are, and their cached logits valid."""
    for number in range(data_args.mixed_texts):
        yield mix_texts(texts, np.random.default_rng((data_args.augmentation_seed, number)))
    for number in range(data_args.reworded_texts):
        rng = np.random.default_rng((data_args.augmentation_seed, number))
        yield reword_texts(texts, teacher.similar_words, rng)


def label(lessons: list[LabelledBatch], task: Task, data_args: DistillationArguments) -> np.ndarray:
    """Return the mean of the teachers' logits for the rows of all lessons, `(N, num_labels)`."""
    folder = Path(data_args.teacher_logits_dir or Path(datasets.config.HF_DATASETS_CACHE) / "teacher_logits")
    parts = []
    for number, (rows, teachers) in enumerate(lessons, 1):
        names = ", ".join(teacher.name for teacher in teachers)
        logger.info(f"LabelledBatch {number} of {len(lessons)}: {len(rows)} texts, labelled by {names}")
        parts.append(np.mean([teacher.label(rows["text"][:], folder) for teacher in teachers], axis=0))
    logits = np.concatenate(parts)
    labels = np.array([task.encode(label) for rows, _ in lessons for label in rows["label"]])
    agree = (logits.argmax(-1) == labels)[labels != IGNORE_INDEX]
    logger.info(f"The teachers give {agree.mean():.2%} of {len(agree)} labelled texts their label")
    return logits


if __name__ == "__main__":
    main()
