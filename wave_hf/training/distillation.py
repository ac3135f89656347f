# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Distillation of classifiers: which teachers label which texts, and the loss of the student."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from datasets import Dataset, DatasetDict, concatenate_datasets
from torch import nn
from transformers import TrainingArguments

from ..modeling_wave import IGNORE_INDEX
from .arguments import ModelArguments, check_formats
from .classification import ClassificationArguments
from .data import load_file
from .rows import read_rows
from .tasks import Task
from .teachers import Inference, Teacher, assign_teachers, mix_texts, reword_texts
from .trainer import LengthGroupedTrainer

logger = logging.getLogger(__name__)

# Rows of text and label (None if there is none), and the teachers that label them.
LabelledBatch = tuple[Dataset, list[Teacher]]


@dataclass
class DistillationArguments(ClassificationArguments):
    """Which rows to read, which teachers label them, and how to weigh labels and teachers."""

    teacher_model_name_or_path: list[str] = field(
        default_factory=list, metadata={"help": "Folders or Hub ids of trained classifiers, the teachers."}
    )
    teacher_train_files: list[str] = field(
        default_factory=list,
        metadata={"help": "Training rows of each teacher, csv or json, for the other teachers to label."},
    )
    teacher_logits_dir: str | None = field(
        default=None, metadata={"help": "Where to cache the teachers' logits. None: beside the cached rows."}
    )
    teacher_bf16: bool = field(default=False, metadata={"help": "Run the teachers in bfloat16."})
    unlabeled_files: list[str] = field(
        default_factory=list, metadata={"help": "More texts, csv or json, without labels."}
    )
    mixed_texts: int = field(
        default=0, metadata={"help": "Texts to make from each text, with a span of it and a span of another text."}
    )
    reworded_texts: int = field(
        default=0, metadata={"help": "Texts to make from each text by replacing words with similar words."}
    )
    augmentation_seed: int = field(
        default=42, metadata={"help": "Seed of the mixed and reworded texts. Another seed needs new logits."}
    )
    temperature: float = field(default=2.0, metadata={"help": "Temperature that divides the logits."})
    hard_loss_weight: float = field(default=0.1, metadata={"help": "Weight of the loss on the labels, 0 to 1."})

    def __post_init__(self) -> None:
        """Raise ValueError for values that are impossible or contradict each other."""
        super().__post_init__()
        check_formats([*self.teacher_train_files, *self.unlabeled_files])
        teachers, files = len(self.teacher_model_name_or_path), len(self.teacher_train_files)
        if teachers == 0:
            raise ValueError("--teacher_model_name_or_path should name at least one teacher")
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
    """Trainer whose loss is `distillation_loss` in training, where rows have `teacher_logits`."""

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
        """Return the loss, with the outputs of the model if `return_outputs`."""
        if "teacher_logits" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        teacher_logits, labels = inputs.pop("teacher_logits"), inputs.pop("labels")
        outputs = model(**inputs, return_dict=True)
        loss = distillation_loss(outputs.logits, teacher_logits, labels, self.temperature, self.hard_loss_weight)
        return (loss, outputs) if return_outputs else loss


def distillation_loss(
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    hard_loss_weight: float,
) -> torch.Tensor:
    """Return the weighted mean of a hard and a soft loss (Hinton et al., arXiv:1503.02531).

    The hard loss is the cross entropy with the labels, which is 0 for rows without a label. The soft loss is
    T^2 KL(teacher || student) of the probabilities at temperature T.

    Args:
        logits: Logits of the student, `(B, num_labels)`, any floating dtype.
        teacher_logits: Logits of the teachers, `(B, num_labels)`.
        labels: Class ids `(B,)`, int64, `IGNORE_INDEX` for rows without a label.
        temperature: T, above 0.
        hard_loss_weight: Weight of the hard loss, 0 to 1; the soft loss has the rest.

    Returns:
        A scalar, float32.
    """
    logits, teacher_logits = logits.float(), teacher_logits.float()
    hard = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum") / len(logits)
    student = nn.functional.log_softmax(logits / temperature, dim=-1)
    teacher = nn.functional.log_softmax(teacher_logits / temperature, dim=-1)
    soft = temperature**2 * nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return hard_loss_weight * hard + (1 - hard_loss_weight) * soft


def load_teachers(
    model_args: ModelArguments, data_args: DistillationArguments, training_args: TrainingArguments, task: Task
) -> list[Teacher]:
    """Load the teachers, and the texts that each was trained on."""
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
    """Read a file with the options for the training rows."""
    rows = DatasetDict({file: load_file(file, model_args.cache_dir)})
    columns = (data_args.text_columns, data_args.label_column_name, data_args.text_column_delimiter)
    return read_rows(rows, task, *columns)[file]


def add_unlabeled(rows: Dataset, model_args: ModelArguments, data_args: DistillationArguments, task: Task) -> Dataset:
    """Append the rows of `unlabeled_files` to the labelled rows.

    Raises:
        SystemExit: A file has a column of labels.
    """
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
    """Return rows of these texts without labels, with the columns of `like`."""
    return Dataset.from_dict({"text": list(texts), "label": [None] * len(texts)}, features=like.features)


def assign_batches(rows: Dataset, teachers: list[Teacher], data_args: DistillationArguments) -> list[LabelledBatch]:
    """Assign each row to the teachers that were not trained on it, and texts made from it to all teachers."""
    batches: list[LabelledBatch] = []
    for places, group in assign_teachers(rows["text"], teachers).items():
        batch = rows.select(group)
        batches.append((batch, [teachers[place] for place in places]))
        made = make_texts(batch["text"][:], teachers[places[0]], data_args)
        batches.extend((without_labels(texts, rows), teachers) for texts in made)
    return batches


def make_texts(texts: list[str], teacher: Teacher, data_args: DistillationArguments) -> Iterator[list[str]]:
    """Yield rounds of new texts, one from each text. More rounds leave the others, and their cached logits, valid."""
    for number in range(data_args.mixed_texts):
        yield mix_texts(texts, np.random.default_rng((data_args.augmentation_seed, number)))
    for number in range(data_args.reworded_texts):
        rng = np.random.default_rng((data_args.augmentation_seed, number))
        yield reword_texts(texts, teacher.similar_words, rng)


def label_batches(batches: list[LabelledBatch], task: Task, data_args: DistillationArguments) -> np.ndarray:
    """Return the mean of the teachers' logits for the rows of all batches, `(N, num_labels)`."""
    folder = Path(data_args.teacher_logits_dir or Path(datasets.config.HF_DATASETS_CACHE) / "teacher_logits")
    parts = []
    for number, (rows, teachers) in enumerate(batches, 1):
        names = ", ".join(teacher.name for teacher in teachers)
        logger.info(f"Batch {number} of {len(batches)}: {len(rows)} texts, labelled by {names}")
        parts.append(np.mean([teacher.label(rows["text"][:], folder) for teacher in teachers], axis=0))
    logits = np.concatenate(parts)
    labels = np.array([task.encode(label) for rows, _ in batches for label in rows["label"]])
    agree = (logits.argmax(-1) == labels)[labels != IGNORE_INDEX]
    logger.info(f"The teachers agree with the labels of {agree.mean():.2%} of {len(agree)} labelled texts")
    return logits
