# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The command line: options for the model and the data, over the training defaults of a recipe."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import HfArgumentParser

from ..recipes import TRAINING_ARGS_NAME, find_recipe
from .checks import check_numbers
from .errors import exit_on_error

DEFAULT_RECIPE = "wave-small"
# What training_args.json, beside a config or a model, may set. The file may come from a stranger. Therefore this list
# has no option that runs code, or that names what is read, where it is written, or who receives it.
RECIPE_OPTIONS = frozenset(
    {
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "gradient_accumulation_steps",
        "hard_loss_weight",
        "label_smoothing_factor",
        "learning_rate",
        "lr_scheduler_type",
        "max_grad_norm",
        "max_seq_length",
        "max_steps",
        "max_train_steps",
        "mlm_probability",
        "num_train_epochs",
        "optim",
        "pad_to_max_length",
        "per_device_eval_batch_size",
        "per_device_train_batch_size",
        "save_strategy",
        "seed",
        "temperature",
        "train_sampling_strategy",
        "warmup_steps",
        "weight_decay",
    }
)


class UnsavedToken(str):
    """A Hub token that a pickle does not contain: Trainer saves its arguments beside each model and checkpoint."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __repr__(self) -> str:
        return "<token>"


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
        if self.dataset_name and not Path(self.dataset_name).exists():
            configs = [self.dataset_config_name] if self.dataset_config_name else []
            return {"dataset": [self.dataset_name], "dataset_tags": [self.dataset_name], "dataset_args": configs}
        # Local data have no id on the Hub, and their path does not concern its readers.
        local = [self.dataset_name] if self.dataset_name else self.files.values()
        names = dict.fromkeys(Path(path).absolute().name for path in local)
        return {"dataset": ", ".join(names) or "documentation corpus", "dataset_tags": [], "dataset_args": []}

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
    if len(arguments) == 1 and arguments[0].endswith(".json"):
        arguments, from_file = [], read_options(Path(arguments[0]))
    if unknown := from_file.keys() - known:
        raise SystemExit(f"Unknown arguments: {', '.join(sorted(unknown))}")
    with exit_on_error("Arguments"):
        parser.set_defaults(**from_file)
        named = parser.parse_args(arguments)
        recipe = recipe_defaults(ModelArguments(named.model_name_or_path, named.config_name))
        # A recipe serves all scripts, including those with fewer options.
        parser.set_defaults(**{name: value for name, value in (recipe | from_file).items() if name in known})
        parsed = parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)
        for option_group in parsed:
            check_numbers(option_group)
    for option_group in parsed:
        protect_tokens(option_group)
    return parsed


def protect_tokens(arguments: Any) -> None:
    """Keep the Hub tokens among these arguments out of what is saved."""
    for option in fields(arguments):
        value = getattr(arguments, option.name)
        if option.name.endswith("token") and isinstance(value, str):
            setattr(arguments, option.name, UnsavedToken(value))


def recipe_defaults(model_args: ModelArguments) -> dict[str, Any]:
    """Return the training defaults beside the config: those of a recipe, or of a transplanted token table.

    Raises:
        SystemExit: They cannot be read, or set more than training hyperparameters (`RECIPE_OPTIONS`).
    """
    file = Path(model_args.config_source) / TRAINING_ARGS_NAME
    options = read_options(file) if file.exists() else {}
    if refused := options.keys() - RECIPE_OPTIONS:
        raise SystemExit(
            f"{file} sets {', '.join(sorted(refused))}, but may set only training hyperparameters: set other options "
            "on the command line"
        )
    for name, value in options.items():
        if not isinstance(value, str):
            raise SystemExit(f"{file} sets {name} to {value!r}, but should set it to a number, a string or a boolean")
    return options


def read_options(file: Path) -> dict[str, Any]:
    """Return the options in a json file: numbers and booleans as the strings that the command line would contain.

    Raises:
        SystemExit: The file cannot be read, or is not an object.
    """
    with exit_on_error(str(file)):
        options = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(options, dict):
            raise ValueError(f"should contain an object of options, but contains {options!r}")
    return {name: str(value) if isinstance(value, int | float) else value for name, value in options.items()}
