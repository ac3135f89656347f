# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The tasks of GLUE, and the rows that `run_glue.py`, `run_glue_no_trainer.py` and the baselines read."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import PreTrainedConfig

from .arguments import ModelArguments
from .data import PREDICTED_SPLITS, check_columns, hold_out_and_limit, load_splits
from .errors import exit_on_error
from .labels import LabelArguments, infer_task, known_order, parse_number, read_label
from .loading import load_config
from .readers import read_cells
from .rows import check_labels, read_rows
from .tasks import Metric, Task

logger = logging.getLogger(__name__)


def accuracy(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the accuracy."""
    return {"accuracy": accuracy_score(references, predictions)}


def accuracy_and_f1(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the accuracy, and F1 of class 1."""
    return accuracy(predictions, references) | {"f1": f1_score(references, predictions)}


def matthews(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return Matthews' correlation coefficient."""
    return {"matthews_correlation": matthews_corrcoef(references, predictions)}


def pearson_and_spearman(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the correlation of the values (Pearson) and of their ranks (Spearman)."""
    return {
        "pearson": pearsonr(predictions, references).statistic,
        "spearmanr": spearmanr(predictions, references).statistic,
    }


@dataclass(frozen=True)
class GlueTask:
    """A task of GLUE: its text columns, the names of its labels (none for a regression), and its metric."""

    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] = ()
    metric: Metric = accuracy

    def of_config(self, config: PreTrainedConfig) -> Task:
        """Return the task, with its labels in the order of a checkpoint that has the same."""
        if not self.label_names:
            return Task("regression", ["LABEL_0"])
        return Task("single_label_classification", known_order(list(self.label_names), config))

    def name_label(self, label: str | None) -> str | None:
        """Return the name of a label that is given by its name or id; any other label, or none, stays as it is.

        Raises:
            ValueError: The task is a regression, and the label is no number.
        """
        if label is None or label in self.label_names:
            return label
        number = parse_number(label)
        if number is None and not self.label_names:
            raise ValueError(f"the label is {label!r}, but should be a number")
        return self.label_names[int(number)] if number in range(len(self.label_names)) else label  # type: ignore[arg-type]


SENTENCES = ("sentence1", "sentence2")
ENTAILMENT = ("entailment", "not_entailment")
GLUE_TASKS = {
    "cola": GlueTask(("sentence",), ("unacceptable", "acceptable"), matthews),
    "mnli": GlueTask(("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "mrpc": GlueTask(SENTENCES, ("not_equivalent", "equivalent"), accuracy_and_f1),
    "qnli": GlueTask(("question", "sentence"), ENTAILMENT),
    "qqp": GlueTask(("question1", "question2"), ("not_duplicate", "duplicate"), accuracy_and_f1),
    "rte": GlueTask(SENTENCES, ENTAILMENT),
    "sst2": GlueTask(("sentence",), ("negative", "positive")),
    "stsb": GlueTask(SENTENCES, metric=pearson_and_spearman),
    "wnli": GlueTask(SENTENCES, ("not_entailment", "entailment")),
}


@dataclass
class GlueArguments(LabelArguments):
    """A task of GLUE, or any other rows of one or two texts."""

    task_name: str | None = field(default=None, metadata={"help": f"Task of GLUE: {', '.join(GLUE_TASKS)}."})

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown task, and for sources that contradict each other."""
        super().__post_init__()
        if self.task_name is None:
            return
        self.task_name = self.task_name.lower()
        if self.task_name not in GLUE_TASKS:
            raise ValueError(f"--task_name {self.task_name} is unknown, the tasks are {', '.join(GLUE_TASKS)}")
        if (self.do_regression, self.do_multi_label) != (None, None):
            raise ValueError(f"--do_regression and --do_multi_label do not go with --task_name {self.task_name}")
        if not self.files and self.dataset_name is None:
            self.dataset_name, self.dataset_config_name = "nyu-mll/glue", self.task_name

    @property
    def glue_task(self) -> GlueTask | None:
        """The task of GLUE, if there is one."""
        return GLUE_TASKS.get(self.task_name or "")

    @property
    def card(self) -> dict[str, Any]:
        """The data for the model card: those of the task, wherever the rows come from."""
        if self.task_name is None:
            return super().card
        dataset = {"dataset": f"GLUE {self.task_name.upper()}", "dataset_tags": "nyu-mll/glue"}
        return dataset | {"dataset_args": self.task_name, "language": "en"}

    def split_names(self, raw: Mapping[str, Any]) -> dict[str, str]:
        """Return the name of each split; MNLI has two kinds of validation and test rows."""
        if "validation_matched" not in raw:
            return super().split_names(raw)
        return {
            "train": "train",
            "validation": "validation_matched",
            "validation_mm": "validation_mismatched",
            "test": "test_matched",
            "test_mm": "test_mismatched",
        }


def load_glue(
    model_args: ModelArguments, data_args: GlueArguments, needed: set[str], seed: int
) -> tuple[PreTrainedConfig, Task, dict[str, Dataset], Metric]:
    """Load rows of one or two texts; a task of GLUE defines columns, labels and metric, wherever its rows come from.

    Args:
        model_args: The model, whose config and labels count if there are no training rows.
        data_args: The task, or any other rows.
        needed: The splits that the run needs.
        seed: Seed of the choice of held-out rows.

    Returns:
        The config, the task, the rows as `text`, `text_pair` (optional) and `label`, and the metric.

    Raises:
        SystemExit: The data cannot be read or do not fit the task or the model.
    """
    glue_task = data_args.glue_task
    raw = load_splits(model_args, data_args, needed)
    config = load_config(model_args)
    label_column = data_args.label_column_name
    if glue_task:
        raw = DatasetDict({split: name_labels(rows, split, label_column, glue_task) for split, rows in raw.items()})
        task = glue_task.of_config(config) if "train" in raw else Task.of_config(config)
        logger.info(f"Task: {task.problem_type} of {len(task.label_names)} labels, that of {data_args.task_name}")
    else:
        task = infer_task(config, raw, label_column, data_args.do_regression, data_args.do_multi_label)

    def text_columns(rows: Dataset, split: str) -> dict[str, list[str]]:
        columns = glue_task.text_columns if glue_task else guess_text_columns(rows, split)
        return {text: [column] for text, column in zip(("text", "text_pair"), columns, strict=False)}

    splits = read_rows(raw, task, text_columns, label_column)
    check_labels(splits, task)
    metric = glue_task.metric if glue_task else task.default_metrics
    return config, task, hold_out_and_limit(splits, data_args, needed, seed, task.stratify_column), metric


def name_labels(rows: Dataset, split: str, column: str, glue_task: GlueTask) -> Dataset:
    """Replace the ids of labels by their names."""
    if column not in rows.column_names or split in PREDICTED_SPLITS:
        return rows
    feature = rows.features[column]

    def read(label: Any) -> str | None:
        return glue_task.name_label(read_label(label, feature))

    def read_batch(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        return {column: read_cells(read, batch[column], indices, column)}

    features = Features({**rows.features, column: Value("string")})
    with exit_on_error(f"The labels of the {split} data"):
        return rows.map(read_batch, batched=True, with_indices=True, features=features)


def guess_text_columns(rows: Dataset, split: str) -> list[str]:
    """Return sentence1 and sentence2, or else the first two text columns beside the label, or the only one."""
    columns = [name for name in rows.column_names if name != GlueArguments.label_column_name]
    if set(SENTENCES) <= set(columns):
        return list(SENTENCES)
    columns = [name for name in columns if holds_texts(rows, name)]
    check_columns(split, [] if columns else ["of text"], rows.column_names)
    return columns[:2]


def holds_texts(rows: Dataset, column: str) -> bool:
    """Return whether a column holds texts, and not only numbers or truth values, which are texts in csv files."""
    if rows.features[column] not in (Value("string"), Value("large_string"), Value("string_view")):
        return False
    return any(text and parse_number(text) is None and text.lower() not in ("true", "false") for text in rows[column])
