# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The tasks of GLUE, and the rows that `run_glue.py` and `run_glue_no_trainer.py` both read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from common import (
    DataArguments,
    Metric,
    ModelArguments,
    Task,
    exit_on_error,
    load_config,
)
from datasets import ClassLabel, Dataset, DatasetDict, Value
from rows import check_columns, check_labels, hold_out_and_limit, infer_task, load_raw_datasets, read_rows, select_splits
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import PreTrainedConfig

LABEL_COLUMN = "label"


def accuracy(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the share of right predictions."""
    return {"accuracy": accuracy_score(references, predictions)}


def accuracy_and_f1(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the share of right predictions, and F1 of class 1."""
    return accuracy(predictions, references) | {"f1": f1_score(references, predictions)}


def matthews(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return Matthews' correlation coefficient."""
    return {"matthews_correlation": matthews_corrcoef(references, predictions)}


def pearson_and_spearman(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the correlation of the values, and that of their ranks."""
    return {
        "pearson": pearsonr(predictions, references).statistic,
        "spearmanr": spearmanr(predictions, references).statistic,
    }


@dataclass(frozen=True)
class GlueTask:
    """A task of GLUE: its text columns, the names of its labels (none: numbers), and its metric."""

    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] = ()
    metric: Metric = accuracy

    @property
    def label_feature(self) -> ClassLabel | Value:
        """The type of the label column."""
        return ClassLabel(names=list(self.label_names)) if self.label_names else Value("float32")


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
class GlueArguments(DataArguments):
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
        if not self.files and self.dataset_name is None:
            self.dataset_name, self.dataset_config_name = "nyu-mll/glue", self.task_name

    @property
    def card(self) -> dict[str, Any]:
        """What the model card says of the data: the task, wherever its rows come from."""
        if self.task_name is None:
            return super().card
        dataset = {"dataset": f"GLUE {self.task_name.upper()}", "dataset_tags": "nyu-mll/glue"}
        return dataset | {"dataset_args": self.task_name, "language": "en"}


def load_glue(
    model_args: ModelArguments, data_args: GlueArguments, needed: set[str], seed: int
) -> tuple[PreTrainedConfig, Task, dict[str, Dataset], Metric]:
    """Return the config, the task, the rows as text, text_pair and label, and the metric.

    A task of GLUE gives columns, labels and metric, wherever its rows come from.
    """
    glue_task = GLUE_TASKS.get(data_args.task_name or "")
    names = {"train": "train", "validation": "validation", "test": "test"}
    raw = load_raw_datasets(data_args, model_args)
    if "validation_matched" in raw:
        names |= {"validation": "validation_matched", "validation_mm": "validation_mismatched"}
        names |= {"test": "test_matched", "test_mm": "test_mismatched"}
    raw = select_splits(raw, names, needed, LABEL_COLUMN)
    if glue_task:
        raw = DatasetDict({split: cast_labels(rows, split, glue_task) for split, rows in raw.items()})
    config = load_config(model_args)
    task = infer_task(config, raw, LABEL_COLUMN)
    splits = {}
    for split, rows in raw.items():
        columns = glue_task.text_columns if glue_task else guess_text_columns(rows, split)
        text_columns = {text: [column] for text, column in zip(("text", "text_pair"), columns, strict=False)}
        splits[split] = read_rows(rows, split, task, text_columns, LABEL_COLUMN)
    check_labels(splits, task)
    metric = glue_task.metric if glue_task else task.default_metrics
    return config, task, hold_out_and_limit(splits, task, data_args, needed, seed), metric


def cast_labels(rows: Dataset, split: str, glue_task: GlueTask) -> Dataset:
    """Give the label column of a file, which holds ids, names or numbers, the type that the task says."""
    if LABEL_COLUMN not in rows.column_names:
        return rows
    with exit_on_error(f"The labels of the {split} data"):
        return rows.cast_column(LABEL_COLUMN, glue_task.label_feature)


def guess_text_columns(rows: Dataset, split: str) -> list[str]:
    """Return sentence1 and sentence2, or else the first two columns of text beside the label, or the only one."""
    texts = (Value("string"), Value("large_string"))
    columns = [name for name, feature in rows.features.items() if feature in texts and name != LABEL_COLUMN]
    if set(SENTENCES) <= set(columns):
        return list(SENTENCES)
    check_columns(split, [] if columns else ["of text"], rows.column_names)
    return columns[:2]
