# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Labels: the task that they define, and how the label of a row is read."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from datasets import ClassLabel, Dataset, LargeList, List
from transformers import PreTrainedConfig

from ..configuration_wave import ProblemType
from .arguments import DataArguments
from .errors import exit_on_error
from .json_reader import as_text
from .readers import read_cells
from .tasks import Task

# Labels of which at least this share are numbers are taken for numbers, with mistakes among them.
NEARLY_ALL = 0.9
# Whole numbers that are written as floats, as pandas writes integers if one is missing, are classes if there are at
# most so many of them, each found twice on average.
MAX_FLOAT_CLASSES = 20
# What stands in a vector that has a place for each class.
ABSENT, PRESENT = {"0", "0.0", "false"}, {"1", "1.0", "true"}

# A label as it is read: a text, a list of texts, or None if it is missing.
Label = str | list[str] | None

logger = logging.getLogger(__name__)


@dataclass
class LabelArguments(DataArguments):
    """What the labels mean, where they do not say it themselves."""

    # Not `bool | None`, which would require a value on the command line.
    do_regression: bool = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "Train a regression. None: if the labels are numbers with fractions. False: never."},
    )
    do_multi_label: bool = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Several labels per text. None: if the labels are lists. False: never."}
    )

    def __post_init__(self) -> None:
        """Raise ValueError for options that contradict each other."""
        super().__post_init__()
        if self.do_regression and self.do_multi_label:
            raise ValueError("--do_regression and --do_multi_label exclude each other")


# Finding the task


def infer_task(
    config: PreTrainedConfig,
    splits: Mapping[str, Dataset],
    label_column: str,
    is_regression: bool | None = None,
    is_multi_label: bool | None = None,
) -> Task:
    """Infer the task from the training labels or, without training rows, from the checkpoint, and log it.

    Args:
        config: Config of the checkpoint, whose order of labels is kept if the labels are the same.
        splits: The splits of this run.
        label_column: Names or numbers of classes; lists of them, or vectors of 0 and 1 with a place for each class
            (several labels per text); or numbers with fractions (regression).
        is_regression: Whether to train a regression; `None`: the labels decide.
        is_multi_label: Whether a text may have several labels; `None`: the labels decide.

    Raises:
        SystemExit: There are fewer than two classes, or nearly all labels are numbers, but not all.
    """
    if "train" not in splits:
        checkpoint_task = Task.of_config(config)
        logger.info(f"Task: {checkpoint_task.problem_type}, as in the checkpoint")
        return checkpoint_task
    rows = splits["train"]
    feature = rows.features[label_column]
    with exit_on_error("The labels of the train data"):
        labels = _labels_of(rows, label_column)
        problem_type, reason = _infer_problem_type(labels, feature, is_regression, is_multi_label)
    if problem_type == "regression":
        logger.info(f"Task: regression, because {reason}")
        return Task("regression", ["LABEL_0"])
    names = _place_names(labels, config) if holds_vectors(labels, feature) else _label_names(labels, feature, config)
    logger.info(f"Task: {problem_type} of {len(names)} labels, because {reason}")
    return Task(problem_type, names)


def infer_token_task(config: PreTrainedConfig, splits: Mapping[str, Dataset], label_column: str) -> Task:
    """Return the task of rows whose labels are lists with a label for each token, or that of the checkpoint.

    Raises:
        SystemExit: There are fewer than two labels.
    """
    if "train" not in splits:
        return Task("single_label_classification", Task.of_config(config).label_names)
    rows = splits["train"]
    with exit_on_error("The labels of the train data"):
        labels = _labels_of(rows, label_column)
    return Task("single_label_classification", _label_names(labels, rows.features[label_column], config))


def _infer_problem_type(
    labels: list[Label], feature: Any, is_regression: bool | None, is_multi_label: bool | None
) -> tuple[ProblemType, str]:
    """Return the problem type and the reason, which names the option that overrules it."""
    if is_regression:
        return "regression", "--do_regression is True"
    if is_multi_label:
        return "multi_label_classification", "--do_multi_label is True"
    if _is_list(feature) and is_multi_label is False:
        return "single_label_classification", "--do_multi_label is False"
    if _is_list(feature):
        kind = "vectors with a place for each class" if holds_vectors(labels, feature) else "lists"
        return "multi_label_classification", f"the labels are {kind} (--do_multi_label False: one label per text)"
    if isinstance(feature, ClassLabel) or is_regression is False:
        return "single_label_classification", "the labels are classes (--do_multi_label: several per text)"
    return _infer_from_numbers(labels)  # type: ignore[arg-type]


def _infer_from_numbers(labels: list[str | None]) -> tuple[ProblemType, str]:
    counts = Counter(label for label in labels if label is not None)
    numbers = {label: number for label in counts if (number := parse_number(label)) is not None}
    share = sum(counts[label] for label in numbers) / max(counts.total(), 1)
    fraction = next((label for label, number in numbers.items() if not number.is_integer()), None)
    if share < 1:
        if share >= NEARLY_ALL or (fraction and share > 0.5):
            row, label = next((row, label) for row, label in enumerate(labels) if label not in {None, *numbers})
            raise ValueError(
                f"row {row} has the label {label!r}, but {share:.0%} of the labels are numbers: correct it, or pass "
                "--do_regression False if each label is a class"
            )
        return "single_label_classification", "the labels are names (--do_multi_label: several per text)"
    if fraction:
        return "regression", f"the labels are numbers such as {fraction} (--do_regression False: each is a class)"
    is_float = any(not label.lstrip("+-").isdigit() for label in numbers)
    if is_float and len(numbers) > min(MAX_FLOAT_CLASSES, counts.total() / 2):
        return "regression", f"the labels are {len(numbers)} floats (--do_regression False: each is a class)"
    return "single_label_classification", "the labels are whole numbers (--do_regression: a regression)"


def parse_number(text: str) -> float | None:
    """Return the finite number that a text is, or None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def _label_names(labels: list[Label], feature: Any, config: PreTrainedConfig) -> list[str]:
    """Return the names of a ClassLabel, or the distinct labels, sorted."""
    inner = feature.feature if _is_list(feature) else feature
    if isinstance(inner, ClassLabel):
        return known_order(inner.names, config)
    distinct = set(chain.from_iterable(label if isinstance(label, list) else [label] for label in labels))
    names: list[Any] = sorted(distinct - {None})
    if len(names) < 2:
        raise SystemExit(f"Classification needs two labels, but the training data has {', '.join(names) or 'none'}")
    if all(parse_number(name) is not None for name in names):
        names.sort(key=float)
    return known_order(names, config)


def _place_names(vectors: list[Any], config: PreTrainedConfig) -> list[str]:
    """Return a name for each place of the vectors: the checkpoint's, if it has as many."""
    size = len(next(vector for vector in vectors if vector is not None))
    known = Task.of_config(config).label_names
    return known if len(known) == size else [f"LABEL_{place}" for place in range(size)]


def known_order(names: list[str], config: PreTrainedConfig) -> list[str]:
    """Return the names of labels, in the order of the checkpoint if it has the same."""
    known = Task.of_config(config).label_names
    return known if set(names) == set(known) else names


# Reading labels


def _labels_of(rows: Dataset, column: str) -> list[Label]:
    feature = rows.features[column]
    return read_cells(lambda label: read_label(label, feature), rows[column], range(len(rows)), column)


def read_label(label: Any, feature: Any) -> Any:
    """Return a label as a text, or a list of texts; `None` if it is missing, or hidden (-1) as in data of the Hub."""
    if _is_list(feature):
        return None if label is None else [read_label(item, feature.feature) for item in label]
    if label is None or (isinstance(feature, ClassLabel) and label < 0):
        return None
    return feature.int2str(label) if isinstance(feature, ClassLabel) else as_text(label)


def holds_vectors(labels: list[Label], feature: Any) -> bool:
    """Return whether the labels are lists of 0 and 1 of one length, which have a place for each class."""
    if not _is_list(feature) or isinstance(feature.feature, ClassLabel):
        return False
    vectors: list[Any] = [label for label in labels if label is not None]
    lengths = set(map(len, vectors))
    return len(lengths) == 1 and min(lengths) > 1 and set(chain(*vectors)) <= ABSENT | PRESENT


def _is_list(feature: Any) -> bool:
    return isinstance(feature, List | LargeList)


def make_label_reader(rows: Dataset, column: str, task: Task) -> Callable[[Any], Any]:
    """Return a function that reads a label of these rows as the task has it: a value, a name, or a list of names.

    It returns `None` for a missing label, and raises ValueError for one that does not fit the task.
    """
    feature = rows.features[column]
    # Lists of labels that are called 0 and 1 look like vectors.
    has_vectors = not {"0", "1"} <= set(task.label_names) and holds_vectors(_labels_of(rows, column), feature)

    def read(label: Any) -> Any:
        label = read_label(label, feature)
        return _to_task(_present(label, task.label_names) if has_vectors else label, task)

    return read


def _present(vector: list[str] | None, names: list[str]) -> list[str] | None:
    """Return the names of the places that hold a 1."""
    if vector is None:
        return None
    if len(vector) != len(names):
        raise ValueError(f"the label has {len(vector)} places, but there are {len(names)} labels")
    return [name for name, place in zip(names, vector, strict=True) if place in PRESENT]


def _to_task(label: Label, task: Task) -> Any:
    if task.problem_type == "multi_label_classification":
        return label if isinstance(label, list) else [] if label is None else [label]
    if isinstance(label, list):
        if len(label) != 1:
            raise ValueError(f"the label is a list of {len(label)}, but should be one label")
        (label,) = label
    if label is None or task.problem_type == "single_label_classification":
        return label
    number = parse_number(label)
    if number is None:
        raise ValueError(f"the label is {label!r}, but a regression needs numbers")
    return number
