# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The command line: options for the model and the data, over the training defaults of a recipe."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import HfArgumentParser, TrainingArguments

from ..recipes import TRAINING_ARGS_NAME, find_recipe
from .errors import exit_on_error

DEFAULT_RECIPE = "wave-small"


@dataclass
class ModelArguments:
    """The model, its config and its tokenizer."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Checkpoint to start from: a folder or a Hub id. None: a new model."}
    )
    config_name: str | None = field(
        default=None, metadata={"help": f"Recipe, folder or Hub id of the config. For a new model: {DEFAULT_RECIPE}."}
    )
    config_overrides: str | None = field(
        default=None, metadata={"help": "Config fields to change: 'hidden_size=256,readout=real'."}
    )
    tokenizer_name: str | None = field(
        default=None, metadata={"help": "Folder or Hub id of the tokenizer. For a new model, None: train one."}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Where to cache downloads and processed files."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model on the Hub."})
    token: str | None = field(default=None, metadata={"help": "Hub token. None: the one of `hf auth login`."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run the code in a model's Hub repository."})
    ignore_mismatched_sizes: bool = field(
        default=False, metadata={"help": "Reinitialize weights whose shape differs, as after a change of labels."}
    )

    @property
    def hub_options(self) -> dict[str, Any]:
        """The keyword arguments that every `from_pretrained` of a run gets."""
        return {
            "cache_dir": self.cache_dir,
            "revision": self.model_revision,
            "token": self.token,
            "trust_remote_code": self.trust_remote_code,
        }

    @property
    def config_label(self) -> str:
        """The config as the user named it."""
        return self.config_name or self.model_name_or_path or DEFAULT_RECIPE

    @property
    def config_source(self) -> str:
        """The folder or Hub id to load the config from."""
        recipe = None if self.config_label == self.model_name_or_path else find_recipe(self.config_label)
        return str(recipe or self.config_label)


@dataclass
class DataArguments:
    """Where the rows come from and how long they may be; the documentation corpus if nothing is named."""

    file_formats: ClassVar[tuple[str, ...]] = (".csv", ".json")
    # Options of `ClassificationArguments`; other scripts read fixed columns.
    label_column_name: ClassVar[str] = "label"
    remove_columns: ClassVar[str | None] = None

    dataset_name: str | None = field(default=None, metadata={"help": "Folder or Hub id of a dataset."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    train_file: str | None = field(default=None, metadata={"help": "Rows to train on, csv or json."})
    validation_file: str | None = field(default=None, metadata={"help": "Rows to evaluate on, csv or json."})
    test_file: str | None = field(default=None, metadata={"help": "Rows to predict, csv or json, labelled or not."})
    validation_split_percentage: int = field(
        default=5, metadata={"help": "Percentage of the training rows to hold out if there are no validation rows."}
    )
    max_seq_length: int = field(
        default=128, metadata={"help": "Truncate texts to this many tokens.", "aliases": ["--max_length"]}
    )
    pad_to_max_length: bool = field(default=False, metadata={"help": "Pad all texts to max_seq_length."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Tokenize again instead of using the cache."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Number of tokenizing processes."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on at most this many rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on at most this many rows."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "Predict at most this many rows."})

    @property
    def files(self) -> dict[str, str]:
        """The named files by split."""
        files = {"train": self.train_file, "validation": self.validation_file, "test": self.test_file}
        return {split: file for split, file in files.items() if file is not None}

    @property
    def limits(self) -> dict[str, int | None]:
        """The largest number of rows of each split."""
        return {
            "train": self.max_train_samples,
            "validation": self.max_eval_samples,
            "test": self.max_predict_samples,
        }

    @property
    def card(self) -> dict[str, Any]:
        """The data as `Trainer.create_model_card` takes it."""
        names = [self.dataset_name] if self.dataset_name else []
        files = dict.fromkeys(Path(file).name for file in self.files.values())
        return {
            "dataset": names or ", ".join(files) or "documentation corpus",
            "dataset_tags": names,
            "dataset_args": [self.dataset_config_name] if self.dataset_config_name else [],
        }

    def split_names(self, raw: Mapping[str, Any]) -> dict[str, str]:
        """Return the name that each split has in the raw data."""
        return {split: split for split in ("train", "validation", "test")}

    def __post_init__(self) -> None:
        """Raise ValueError for sources that contradict each other."""
        if self.dataset_name and self.files:
            raise ValueError("--dataset_name and files exclude each other")
        if len({Path(file).suffix for file in self.files.values()}) > 1:
            raise ValueError(f"The files differ in format: {', '.join(self.files.values())}")
        check_formats(self.files.values(), self.file_formats)


def check_formats(files: Iterable[str], formats: tuple[str, ...] = DataArguments.file_formats) -> None:
    """Raise ValueError unless all files have one of these endings."""
    for file in files:
        if Path(file).suffix not in formats:
            raise ValueError(f"{file} is neither a {' nor a '.join(formats)} file")


def parse_arguments(*argument_classes: Any) -> tuple[Any, ...]:
    """Parse the command line, or the one json file it names, over the training defaults of the recipe.

    Args:
        *argument_classes: Dataclasses of options. The first is `ModelArguments`, which names the recipe.

    Returns:
        An instance of each class.

    Raises:
        SystemExit: An option is unknown or has an impossible value.
    """
    parser = HfArgumentParser(argument_classes, usage="%(prog)s --help | FILE.json | --OPTION VALUE ...")
    known = {option.name for cls in argument_classes for option in fields(cls)}
    # Batches of rows of similar length need little padding; a machine without an accelerator needs no flag.
    house_defaults = {"train_sampling_strategy": "group_by_length", "use_cpu": not torch.accelerator.is_available()}
    parser.set_defaults(**{name: value for name, value in house_defaults.items() if name in known})
    arguments, from_file = sys.argv[1:], {}
    with exit_on_error("Arguments"):
        if len(arguments) == 1 and arguments[0].endswith(".json"):
            arguments, from_file = [], json.loads(Path(arguments[0]).read_text())
        parser.set_defaults(**{name: value for name, value in from_file.items() if name in known})
        named = parser.parse_args(arguments)
        recipe = recipe_defaults(ModelArguments(named.model_name_or_path, named.config_name))
        # A recipe serves all scripts, including those with fewer options than Trainer.
        of_trainer = {option.name for option in fields(TrainingArguments)}
        unknown = (from_file.keys() - known) | (recipe.keys() - known - of_trainer)
        if unknown:
            raise SystemExit(f"Unknown arguments: {', '.join(sorted(unknown))}")
        parser.set_defaults(**{name: value for name, value in (recipe | from_file).items() if name in known})
        return parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)


def recipe_defaults(model_args: ModelArguments) -> dict[str, Any]:
    """Return the training defaults beside the config: those of a recipe, or of a transplanted token table."""
    file = Path(model_args.config_source) / TRAINING_ARGS_NAME
    return json.loads(file.read_text()) if file.exists() else {}
