# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""What the example scripts share, in the order of a run: arguments, task, model, training and reporting.

Wrong input ends a script with one sentence (`SystemExit`) before anything is written. With several processes each
reads all rows, so that none waits for another before all have come as far as training.
"""

import ast
import csv
import hashlib
import inspect
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import chain, compress
from pathlib import Path
from typing import Any, ClassVar, Literal

import datasets
import numpy as np
import pyarrow as pa
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import gather_object
from checkpoints import check_same_network, find_checkpoint, list_checkpoints
from datasets import Dataset, IterableDataset, List, Value
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError, StrictDataclassError
from length_grouping import LengthGroupedTrainer
from safetensors import SafetensorError
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EvalPrediction,
    HfArgumentParser,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME

from wave_hf import train_tokenizer
from wave_hf.files import writing
from wave_hf.model_card import count_parameters

RECIPES = Path(__file__).parent / "configs"
DEFAULT_RECIPE = "wave-small"
IGNORE_INDEX = -100  # what cross entropy leaves out

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
# Maps predictions and references, each `(N,)` or `(N, num_labels)`, to named values.
Metric = Callable[[np.ndarray, np.ndarray], dict[str, float]]

logger = logging.getLogger("examples.common")


@dataclass
class ModelArguments:
    """The model, its config and its tokenizer."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Checkpoint to continue from: a folder or a Hub id. None: a new model."}
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
    cache_dir: str | None = field(default=None, metadata={"help": "Where downloads and read files are kept."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model on the Hub."})
    token: str | None = field(default=None, metadata={"help": "Hub token. None: the one of `hf auth login`."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Run the code that a Hub model brings along."})
    ignore_mismatched_sizes: bool = field(
        default=False, metadata={"help": "Start weights anew whose shape has changed, as with other labels."}
    )

    @property
    def hub_options(self) -> dict[str, Any]:
        """What every `from_pretrained` of a run is given."""
        return {
            "cache_dir": self.cache_dir,
            "revision": self.model_revision,
            "token": self.token,
            "trust_remote_code": self.trust_remote_code,
        }


@dataclass
class DataArguments:
    """Where the rows come from and how long they may be; the documentation corpus if nothing is named."""

    file_formats: ClassVar[tuple[str, ...]] = (".csv", ".json")

    dataset_name: str | None = field(default=None, metadata={"help": "Folder or Hub id of a dataset."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    train_file: str | None = field(default=None, metadata={"help": "Rows to train on, csv or json."})
    validation_file: str | None = field(default=None, metadata={"help": "Rows to evaluate on, csv or json."})
    test_file: str | None = field(default=None, metadata={"help": "Rows to predict, csv or json, labelled or not."})
    validation_split_percentage: int = field(
        default=5, metadata={"help": "Percentage of the training rows held out if there are none to evaluate on."}
    )
    max_seq_length: int = field(
        default=128, metadata={"help": "Texts are cut off after this many tokens.", "aliases": ["--max_length"]}
    )
    pad_to_max_length: bool = field(default=False, metadata={"help": "Pad all texts to max_seq_length."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Tokenize again, whatever the cache holds."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes that tokenize."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on so many rows at most."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on so many rows at most."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "Predict so many rows at most."})

    @property
    def files(self) -> dict[str, str]:
        """The files by split."""
        files = {"train": self.train_file, "validation": self.validation_file, "test": self.test_file}
        return {split: file for split, file in files.items() if file is not None}

    @property
    def card(self) -> dict[str, Any]:
        """What the model card says of the data, as `Trainer.create_model_card` takes it."""
        names = [self.dataset_name] if self.dataset_name else []
        files = dict.fromkeys(Path(file).name for file in self.files.values())
        return {
            "dataset": names or ", ".join(files) or "documentation corpus",
            "dataset_tags": names,
            "dataset_args": [self.dataset_config_name] if self.dataset_config_name else [],
        }

    def __post_init__(self) -> None:
        """Raise ValueError for sources that contradict each other."""
        if self.dataset_name and self.files:
            raise ValueError("--dataset_name and files exclude each other")
        if len({Path(file).suffix for file in self.files.values()}) > 1:
            raise ValueError(f"The files differ in format: {', '.join(self.files.values())}")
        check_formats(self.files.values(), self.file_formats)


def check_formats(files: Iterable[str], formats: tuple[str, ...] = (".csv", ".json")) -> None:
    """Raise ValueError unless all are files of these formats."""
    for file in files:
        if Path(file).suffix not in formats:
            raise ValueError(f"{file} is neither a {' nor a '.join(formats)} file")


@dataclass
class Task:
    """What is predicted: the problem type, as in the config, and the label names in the order of their ids."""

    problem_type: ProblemType
    label_names: list[str]

    @classmethod
    def of_config(cls, config: PreTrainedConfig) -> "Task":
        """Return the task of a checkpoint."""
        default: ProblemType = "regression" if config.num_labels == 1 else "single_label_classification"
        id2label: dict[Any, str] = config.id2label or {}
        return cls(config.problem_type or default, [id2label[i] for i in range(len(id2label))])

    def write_to(self, config: PreTrainedConfig) -> None:
        """Make a model of this config learn the task."""
        config.problem_type = self.problem_type
        config.id2label = dict(enumerate(self.label_names))
        config.label2id = {name: i for i, name in enumerate(self.label_names)}

    @property
    def label_feature(self) -> Value | List:
        """The type of the label column: a value, a name, or names."""
        name = Value("string")
        return {"regression": Value("float32"), "multi_label_classification": List(name)}.get(self.problem_type, name)

    def encode(self, label: Any) -> Any:
        """Return what the loss expects for a value, a name (None: there is none), or a list of names."""
        if self.problem_type == "regression":
            return label
        if self.problem_type == "multi_label_classification":
            return [float(name in label) for name in self.label_names]
        return IGNORE_INDEX if label is None else self.label_names.index(label)

    def decode(self, prediction: Any) -> str:
        """Return a predicted value with three decimals, a name, or names with commas between."""
        if self.problem_type == "regression":
            return f"{prediction:.3f}"
        if self.problem_type == "multi_label_classification":
            return ",".join(compress(self.label_names, prediction))
        return self.label_names[prediction]

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Return values `(N,)`, class ids `(N,)`, or 0 and 1 for each label `(N, num_labels)`."""
        if self.problem_type == "regression":
            return logits.reshape(-1)
        if self.problem_type == "multi_label_classification":
            return (logits > 0).astype(int)
        return logits.argmax(-1)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of each label `(N, num_labels)`."""
        return expit(logits) if self.problem_type == "multi_label_classification" else softmax(logits, axis=-1)

    def default_metrics(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Return mean squared error, micro-averaged F1, or accuracy."""
        if self.problem_type == "regression":
            return {"mse": mean_squared_error(references, predictions)}
        if self.problem_type == "multi_label_classification":
            return {"f1": f1_score(references, predictions, average="micro", zero_division=0)}
        return {"accuracy": accuracy_score(references, predictions)}


@contextmanager
def exit_on_error(subject: str) -> Iterator[None]:
    """End the script with one line, not a traceback, if a library cannot use what it was given."""
    library_errors = (
        StrictDataclassError,
        DatasetsError,
        HTTPError,
        OSError,
        RuntimeError,
        SafetensorError,
        StopIteration,
    )
    try:
        yield
    except (*library_errors, TypeError, ValueError) as error:
        # Config and data errors keep their reason in the cause.
        reason = (isinstance(error, StrictDataclassError | DatasetsError) and error.__cause__) or error
        raise SystemExit(f"{subject}: {' '.join(str(reason).split()) or 'no content'}") from error


@contextmanager
def exit_all_ranks() -> Iterator[None]:
    """End all processes if one of them has to end, and let the first one tell why.

    Left alone, the others would wait for it in the first exchange of training.
    """
    reason: Any = None
    try:
        yield
    except SystemExit as end:
        reason = end.code
    reasons = gather_object([reason]) if torch.distributed.is_initialized() else [reason]
    given = [reason for reason in reasons if reason is not None]
    if given:
        raise SystemExit(given[0] if int(os.environ.get("RANK", 0)) == 0 or given[0] == 0 else 1)


def parse_arguments(*argument_classes: Any) -> tuple[Any, ...]:
    """Parse the command line, or the one json file it names, over the training defaults of the recipe."""
    parser = HfArgumentParser(argument_classes, usage="%(prog)s --help | FILE.json | --OPTION VALUE ...")
    known = {option.name for cls in argument_classes for option in fields(cls)}
    # A batch of rows of like length needs little padding; and a machine without an accelerator needs no flag.
    house_defaults = {"train_sampling_strategy": "group_by_length", "use_cpu": not torch.accelerator.is_available()}
    parser.set_defaults(**{name: value for name, value in house_defaults.items() if name in known})
    arguments, from_file = sys.argv[1:], {}
    with exit_on_error("Arguments"):
        if len(arguments) == 1 and arguments[0].endswith(".json"):
            arguments, from_file = [], json.loads(Path(arguments[0]).read_text())
        parser.set_defaults(**{name: value for name, value in from_file.items() if name in known})
        recipe = recipe_defaults(parser.parse_args(arguments))
        # A recipe serves all scripts, also those that have fewer options than Trainer.
        of_trainer = {option.name for option in fields(TrainingArguments)}
        unknown = (from_file.keys() - known) | (recipe.keys() - known - of_trainer)
        if unknown:
            raise SystemExit(f"Unknown arguments: {', '.join(sorted(unknown))}")
        parser.set_defaults(**{name: value for name, value in (recipe | from_file).items() if name in known})
        return parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)


def recipe_defaults(model_args: Any) -> dict[str, Any]:
    """Return the training defaults that lie beside the config: of a recipe, or of a table that was transplanted."""
    file = Path(_config_source(model_args)) / "training_args.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _config_name(model_args: Any) -> str:
    return model_args.config_name or model_args.model_name_or_path or DEFAULT_RECIPE


def _config_source(model_args: Any) -> str:
    name = _config_name(model_args)
    is_recipe = name != model_args.model_name_or_path and (RECIPES / name).is_dir()
    return str(RECIPES / name) if is_recipe else name


def set_up_logging(is_main_process: bool, verbosity: int) -> None:
    """Let the scripts speak on the main process, and the libraries as loud as `verbosity` says."""
    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        handlers=[logging.StreamHandler(sys.stdout)],
    )
    for name in ("examples", "wave_hf"):
        logging.getLogger(name).setLevel(logging.INFO if is_main_process else logging.WARNING)
    datasets.utils.logging.set_verbosity(verbosity)
    transformers.utils.logging.set_verbosity(verbosity)


def log_recipe(model_args: ModelArguments) -> None:
    """Tell the training defaults that the recipe has set, where the command line says nothing else."""
    defaults = [f"{name}={value}" for name, value in recipe_defaults(model_args).items()]
    if defaults:
        logger.info(f"Training defaults of {_config_name(model_args)}: {', '.join(defaults)}")


def check_launch(world_size: int) -> None:
    """Refuse to train alone when a launcher was asked for several processes."""
    # accelerate launch --cpu --num_processes 2 starts one process, and leaves only the address of the others.
    asked = os.environ.get("WORLD_SIZE", "several" if "MASTER_ADDR" in os.environ else "1")
    if world_size == 1 and asked != "1":
        raise SystemExit(
            f"The launcher was asked for {asked} processes, but this one is alone: use torchrun, or accelerate launch "
            "with --multi_gpu or a config of examples/accelerate"
        )
    logger.info(f"world_size: {world_size}")


def start(
    data_arguments: type[DataArguments], training_arguments: type[TrainingArguments] = TrainingArguments
) -> tuple[ModelArguments, Any, Any]:
    """Parse the command line of a script with Trainer, set up logging, and refuse what cannot be run."""
    model_args, data_args, training_args = parse_arguments(ModelArguments, data_arguments, training_arguments)
    set_up_logging(training_args.should_log, training_args.get_process_log_level())
    log_recipe(model_args)
    check_launch(training_args.world_size)
    check_request(model_args, training_args)
    return model_args, data_args, training_args


def check_request(model_args: ModelArguments, training_args: TrainingArguments) -> None:
    """Refuse a run that has nothing to do, or no model to do it with."""
    if not needed_splits(training_args):
        raise SystemExit("Nothing to do: pass --do_train, --do_eval or --do_predict")
    if not training_args.do_train and model_args.model_name_or_path is None:
        raise SystemExit("Without --do_train there must be a model already: pass --model_name_or_path")
    if training_args.do_train and not training_args.resume_from_checkpoint:
        check_output_folder(Path(str(training_args.output_dir)))


def check_output_folder(folder: Path) -> None:
    """Refuse to train over a finished model or an unfinished run."""
    if (folder / "config.json").exists() and any(folder.glob("model*.safetensors")):
        raise SystemExit(f"{folder} holds a finished model: choose another --output_dir")
    if list_checkpoints(folder):
        raise SystemExit(
            f"{folder} holds an unfinished run: --resume_from_checkpoint {folder} continues it, "
            "another --output_dir starts anew"
        )


def create_repository(args: Any) -> None:
    """Create the repository of --push_to_hub, unless there is one: who may not push hears of it before training.

    Args:
        args: The options of a script; `hub_model_id` becomes the full name of the repository.
    """
    if not args.push_to_hub or not PartialState().is_main_process:
        return
    name = args.hub_model_id or Path(args.output_dir).absolute().name
    with exit_on_error(f"--push_to_hub: {name}"):
        url = HfApi(token=args.hub_token).create_repo(name, private=args.hub_private_repo, exist_ok=True)
    args.hub_model_id = url.repo_id


def needed_splits(training_args: TrainingArguments) -> set[str]:
    """Return the splits that a run reads."""
    needed = {"train": training_args.do_train, "validation": training_args.do_eval, "test": training_args.do_predict}
    return {split for split, is_needed in needed.items() if is_needed}


def load_config(model_args: ModelArguments) -> PreTrainedConfig:
    """Load the config of the recipe, path or Hub id, with --config_overrides."""
    overrides = _parse_overrides(model_args.config_overrides or "")
    name = _config_name(model_args)
    recipes = ", ".join(sorted(file.parent.name for file in RECIPES.glob("*/config.json")))
    with exit_on_error(f"Config {name} (the recipes are {recipes})"):
        config = AutoConfig.from_pretrained(_config_source(model_args), **model_args.hub_options)
        unknown = overrides.keys() - {option.name for option in fields(config)}
        if unknown:
            raise SystemExit(f"--config_overrides: {type(config).__name__} has no {', '.join(sorted(unknown))}")
        # Built anew, because only the constructor checks fields against each other.
        return type(config).from_dict(config.to_dict() | overrides)


def _parse_overrides(overrides: str) -> dict[str, Any]:
    outside_brackets = r",(?![^\[]*\])"
    pairs = (pair.partition("=") for pair in re.split(outside_brackets, overrides) if pair)
    return {name.strip(): _parse_value(value.strip()) for name, _, value in pairs}


def _parse_value(text: str) -> Any:
    if text.startswith("["):
        return [_parse_value(item.strip()) for item in text.strip("[]").split(",")]
    try:
        return ast.literal_eval(text.capitalize())  # a number, true, False, none
    except (SyntaxError, ValueError):
        return text


def load_tokenizer(
    model_args: ModelArguments,
    config: PreTrainedConfig,
    texts: Iterable[str],
    checkpoint: str | None,
    do_lower_case: bool = True,
) -> PreTrainedTokenizerBase:
    """Load the tokenizer, or train one on the training texts, and fit the config of a new model to it.

    Args:
        model_args: Name the tokenizer, if it is not to be trained.
        config: Its vocab_size is what a trained tokenizer aims at. From scratch, vocab_size and pad_token_id are set.
        texts: The texts to train it on; they are read only then.
        checkpoint: The run that is resumed: its tokenizer is used again.
        do_lower_case: Whether a trained tokenizer lowercases.
    """
    name = model_args.tokenizer_name or model_args.model_name_or_path or checkpoint
    tokenizer: PreTrainedTokenizerBase
    with exit_on_error(f"Tokenizer {name or 'of the training texts'}"):
        if name is None:
            tokenizer = train_tokenizer(texts, config.vocab_size, do_lower_case)
        else:
            tokenizer = AutoTokenizer.from_pretrained(name, **model_args.hub_options)
    if model_args.model_name_or_path is None:
        if tokenizer.pad_token is None:  # as in those of GPT models
            tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    elif len(tokenizer) > config.vocab_size:
        raise SystemExit(
            f"Tokenizer {name} has {len(tokenizer)} tokens, but the token table of "
            f"{model_args.model_name_or_path} only {config.vocab_size} rows"
        )
    return tokenizer


def text_columns(rows: Dataset) -> list[str]:
    """Return text and, in rows of pairs, text_pair."""
    return [name for name in ("text", "text_pair") if name in rows.column_names]


def load_model(model_args: ModelArguments, config: PreTrainedConfig, seed: int, auto_class: Any) -> PreTrainedModel:
    """Load the checkpoint, or make a new model whose weights depend on nothing but its class, config and seed."""
    set_seed(seed)
    if model_args.model_name_or_path is None:
        return auto_class.from_config(config, trust_remote_code=model_args.trust_remote_code)
    with exit_on_error(f"Model {model_args.model_name_or_path}"):
        return auto_class.from_pretrained(
            model_args.model_name_or_path,
            config=config,
            ignore_mismatched_sizes=model_args.ignore_mismatched_sizes,
            **model_args.hub_options,
        )


def load_model_and_tokenizer(
    model_args: ModelArguments,
    config: PreTrainedConfig,
    texts: Iterable[str],
    seed: int,
    checkpoint: str | None,
    auto_class: Any = AutoModelForSequenceClassification,
    do_lower_case: bool = True,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model, and the tokenizer that makes just what this model takes.

    Args:
        model_args: Name them, if they are not new.
        config: Of the model; from scratch, it is fitted to the tokenizer.
        texts: What a new tokenizer is trained on.
        seed: Of new weights.
        checkpoint: The one the run resumes from.
        auto_class: The class of transformers that makes the model.
        do_lower_case: Whether a new tokenizer lowercases.
    """
    tokenizer = load_tokenizer(model_args, config, texts, checkpoint, do_lower_case)
    model = load_model(model_args, config, seed, auto_class)
    check_same_network(model.config, checkpoint)
    # Some networks take no attention mask, or no token types.
    taken = inspect.signature(model.forward).parameters
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in taken]
    return model, tokenizer


def prepare(
    model_args: ModelArguments,
    data_args: DataArguments,
    config: PreTrainedConfig,
    task: Task,
    splits: dict[str, Dataset],
    seed: int,
    checkpoint: str | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Dataset]]:
    """Return the model, its tokenizer and the rows as token ids; `checkpoint` is the one the run resumes from."""
    task.write_to(config)
    train = splits.get("train")
    texts = chain(*(train[name] for name in text_columns(train))) if train is not None else ()
    model, tokenizer = load_model_and_tokenizer(model_args, config, texts, seed, checkpoint)
    splits = {split: tokenize(rows, tokenizer, config, task, data_args) for split, rows in splits.items()}
    return model, tokenizer, splits


def tokenize(
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    task: Task,
    data_args: DataArguments,
) -> Dataset:
    """Turn texts or pairs of texts into token ids, and labels into what the loss expects."""
    options = length_options(tokenizer, config, data_args)

    def encode(batch: dict[str, list]) -> dict[str, Any]:
        encoded = tokenizer(batch["text"], batch.get("text_pair"), **options)
        labels = {"labels": [task.encode(label) for label in batch["label"]]} if "label" in batch else {}
        return {**encoded, **labels}

    return rows.map(
        encode,
        batched=True,
        num_proc=data_args.preprocessing_num_workers,
        remove_columns=rows.column_names,
        load_from_cache_file=not data_args.overwrite_cache,
        desc="Tokenizing",
    )


def length_options(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, data_args: DataArguments
) -> dict[str, Any]:
    """Return how long texts may be and whether they are padded, as a tokenizer takes it."""
    limits = (data_args.max_seq_length, tokenizer.model_max_length, getattr(config, "max_position_embeddings", None))
    return {
        "truncation": True,
        "max_length": min(limit for limit in limits if limit is not None),
        "padding": "max_length" if data_args.pad_to_max_length else False,
    }


def check_same_rows(splits: Mapping[str, Dataset | IterableDataset]) -> None:
    """Refuse to train on several processes that do not have the same rows; streams are not looked into."""
    digests: dict[str, list[str]] = {}
    for split, rows in splits.items():
        if isinstance(rows, Dataset):
            table = rows.with_format("arrow")[:]
            parts = chain(*(_flat_parts(table[name].combine_chunks()) for name in sorted(rows.column_names)))
            digests[split] = [
                hashlib.sha256(part.to_numpy(zero_copy_only=False).tobytes()).hexdigest() for part in parts
            ]
    of_all_processes = gather_object([digests])
    with exit_all_ranks():
        for split, digest in digests.items():
            if any(other.get(split) != digest for other in of_all_processes):
                raise SystemExit(f"The processes of this run have different {split} data")


def _flat_parts(column: pa.Array) -> Iterator[pa.Array]:
    """Yield the lengths of the lists of a column, level by level, and its numbers."""
    while pa.types.is_list(column.type):
        yield column.value_lengths()
        column = column.flatten()
    yield column


def best_class(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the class of the highest score for each token, `(B, T)`, all that metrics need of an evaluation."""
    return logits.argmax(dim=-1)


def score(task: Task, compute: Metric, logits: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the metrics and, where there are several, their mean."""
    metrics = {name: float(value) for name, value in compute(task.predictions(logits), references).items()}
    if len(metrics) > 1:
        metrics["combined_score"] = float(np.mean(list(metrics.values())))
    return metrics


def prepare_for_trainer(
    model_args: ModelArguments,
    data_args: DataArguments,
    training_args: TrainingArguments,
    config: PreTrainedConfig,
    task: Task,
    splits: dict[str, Dataset],
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Dataset]]:
    """Return what `prepare` does, and tell Trainer of the checkpoint."""
    checkpoint = checkpoint_of_trainer(training_args)
    return prepare(model_args, data_args, config, task, splits, training_args.seed, checkpoint)


def checkpoint_of_trainer(args: TrainingArguments) -> str | None:
    """Find the checkpoint that the run resumes from, and set `resume_from_checkpoint` to it."""
    args.resume_from_checkpoint = find_checkpoint(
        args.resume_from_checkpoint, str(args.output_dir), TRAINER_STATE_NAME
    )
    return args.resume_from_checkpoint


def make_trainer(
    args: TrainingArguments,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, Dataset | IterableDataset],
    compute_metrics: Callable[[EvalPrediction], dict[str, float]],
    trainer_class: Callable[..., Trainer] = LengthGroupedTrainer,
    **options: Any,
) -> Trainer:
    """Return a Trainer, unless the processes have different rows.

    Not within `exit_all_ranks`, as the processes exchange something. Trainer makes the output folder.

    Args:
        args: Of Trainer.
        model: What is trained.
        tokenizer: Its tokenizer.
        splits: Its rows as token ids, `train` and `validation` as far as there are.
        compute_metrics: As Trainer takes it.
        trainer_class: Makes the Trainer.
        **options: What else it takes, such as `data_collator`.
    """
    check_same_rows(splits)
    return trainer_class(
        model=model,
        args=args,
        train_dataset=splits.get("train"),
        eval_dataset=splits.get("validation"),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        **options,
    )


def make_compute_metrics(task: Task, compute: Metric) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return what tells Trainer the `score` of logits."""
    return lambda output: score(task, compute, output.predictions, output.label_ids)  # type: ignore[arg-type]


def run(
    trainer: Trainer, splits: dict[str, Dataset], task: Task, predictions: str, probabilities: bool = False
) -> None:
    """Train, evaluate and predict, as far as the command line asks for it.

    Args:
        trainer: Holds model, rows and arguments.
        splits: The rows as token ids: train, validation and test, as far as there are; validation_mm and test_mm if
            there is a second kind of them.
        task: What is predicted.
        predictions: Name of the file of predictions, without suffix.
        probabilities: Whether it gets the probability of each label.
    """
    train_and_evaluate(trainer, splits)
    if trainer.args.do_predict:
        predict(trainer, splits["test"], task, f"{predictions}.txt", probabilities)
        if "test_mm" in splits:
            predict(trainer, splits["test_mm"], task, f"{predictions}-mm.txt", probabilities)


def train_and_evaluate(trainer: Trainer, splits: Mapping[str, Dataset | IterableDataset]) -> None:
    """Train and evaluate, as far as the command line asks for it; see `run`."""
    args = trainer.args
    facts = run_facts(trainer.model, args.world_size, args.seed)  # type: ignore[arg-type]
    logger.info(f"This run: {facts}")
    sizes = {split: len(rows) for split, rows in splits.items() if isinstance(rows, Dataset)}
    if args.do_train:
        result = trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        trainer.save_model(_internal_call=True)  # else it would push as well, before anything is measured
        trainer.save_state()
        samples = {"train_samples": sizes["train"]} if "train" in sizes else {}
        report(trainer, "train", result.metrics | facts | samples)
    if args.do_eval:
        metrics: dict[str, float] = dict(facts)
        if "validation_mm" in splits:
            metrics |= {f"{name}_mm": value for name, value in trainer.evaluate(splits["validation_mm"]).items()}
        # Last, because the model card tells of the last evaluation.
        samples = {"eval_samples": sizes["validation"]} if "validation" in sizes else {}
        report(trainer, "eval", metrics | trainer.evaluate() | samples)


def run_facts(model: PreTrainedModel, world_size: int, seed: int) -> dict[str, int]:
    """Return what a reader of the results wants to know of the run besides its metrics."""
    return {**count_parameters(model), "world_size": world_size, "seed": seed}


def report(trainer: Trainer, split: str, metrics: dict[str, float]) -> None:
    """Print the metrics and write them to `{split}_results.json` and `all_results.json`."""
    trainer.log_metrics(split, metrics)
    trainer.save_metrics(split, metrics)


def predict(trainer: Trainer, rows: Dataset, task: Task, file_name: str, probabilities: bool) -> None:
    """Predict, and write the file of predictions."""
    logits: Any = trainer.predict(rows, metric_key_prefix="predict").predictions
    header, columns = ["prediction"], [[task.decode(prediction) for prediction in task.predictions(logits)]]
    if probabilities:
        header += task.label_names
        columns += [[f"{probability:.6f}" for probability in column] for column in task.probabilities(logits).T]
    if trainer.is_world_process_zero():
        write_predictions(Path(str(trainer.args.output_dir)) / file_name, header, columns)


def write_predictions(file: Path, header: list[str], columns: list[list[str]]) -> None:
    """Write tab-separated columns, each row with its index; the file appears when it is complete."""
    with writing(file) as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", *header])
        writer.writerows(zip(range(len(columns[0])), *columns, strict=True))


def publish(
    trainer: Trainer, model_args: ModelArguments, data_args: DataArguments, task: str = "text-classification"
) -> None:
    """Push the model to the Hub, or write the card of a model that was trained just now; `task` is the Hub's name."""
    command = shlex.join(["python", *sys.argv])
    for secret in filter(None, (trainer.args.hub_token, model_args.token)):
        command = command.replace(secret, "TOKEN")
    card: dict[str, Any] = {"command": command, "finetuned_from": model_args.model_name_or_path}
    card |= data_args.card | {"tasks": task}
    if trainer.args.push_to_hub:
        with exit_on_error(f"The model is in {trainer.args.output_dir}, but not on the Hub"):
            trainer.push_to_hub(**card)
    elif trainer.args.do_train:
        trainer.create_model_card(**card)
