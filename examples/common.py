# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""What the example scripts share: arguments, recipes, data, building a model, training and reporting.

Wrong input ends a script with one sentence (`SystemExit`) before anything is written.
"""

import ast
import csv
import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow.compute as pc
import torch
import transformers
from datasets import Dataset, DatasetDict, List, Value, load_dataset
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import StrictDataclassError
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error
from sklearn.model_selection import train_test_split
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    HfArgumentParser,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import PredictionOutput, get_last_checkpoint

from wave_hf import train_tokenizer
from wave_hf.embedded_corpus import load_embedded_corpus

RECIPES = Path(__file__).parent / "configs"
DEFAULT_RECIPE = "wave-small"

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]

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
    """Where the rows come from and how long they may be; the embedded corpus if nothing is named."""

    dataset_name: str | None = field(default=None, metadata={"help": "Folder or Hub id of a dataset."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    train_file: str | None = field(default=None, metadata={"help": "Rows to train on, csv or json."})
    validation_file: str | None = field(default=None, metadata={"help": "Rows to evaluate on, csv or json."})
    test_file: str | None = field(default=None, metadata={"help": "Rows to predict, csv or json, labelled or not."})
    validation_split_percentage: int = field(
        default=5, metadata={"help": "Percentage of the training rows held out if there are none to evaluate on."}
    )
    max_seq_length: int = field(default=128, metadata={"help": "Texts are cut off after this many tokens."})
    pad_to_max_length: bool = field(default=False, metadata={"help": "Pad all texts to max_seq_length."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Tokenize again, whatever the cache holds."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on so many rows at most."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on so many rows at most."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "Predict so many rows at most."})

    @property
    def files(self) -> dict[str, str]:
        """The files by split."""
        files = {"train": self.train_file, "validation": self.validation_file, "test": self.test_file}
        return {split: file for split, file in files.items() if file is not None}

    def __post_init__(self) -> None:
        """Raise ValueError for sources that contradict each other."""
        if self.dataset_name and self.files:
            raise ValueError("--dataset_name and files exclude each other")
        if len({Path(file).suffix for file in self.files.values()}) > 1:
            raise ValueError(f"The files differ in format: {', '.join(self.files.values())}")
        for file in self.files.values():
            if Path(file).suffix not in (".csv", ".json"):
                raise ValueError(f"{file} is neither a .csv nor a .json file")


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
        """Return what the loss expects for a value, a name, or a list of names."""
        if self.problem_type == "regression":
            return label
        if self.problem_type == "multi_label_classification":
            return [float(name in label) for name in self.label_names]
        return self.label_names.index(label)

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
def ending_with_one_line(subject: str) -> Iterator[None]:
    """End the script with one line, not a traceback, if a library cannot use what it was given."""
    try:
        yield
    except (StrictDataclassError, DatasetsError, OSError, RuntimeError, StopIteration, TypeError, ValueError) as error:
        # Config and data errors keep their reason in the cause.
        reason = (isinstance(error, StrictDataclassError | DatasetsError) and error.__cause__) or error
        raise SystemExit(f"{subject}: {' '.join(str(reason).split()) or 'no content'}") from error


def parse_arguments(*argument_classes: Any) -> tuple[Any, ...]:
    """Parse the command line, or the one json file it names, over the training defaults of the recipe."""
    parser = HfArgumentParser(argument_classes, usage="%(prog)s --help | FILE.json | --OPTION VALUE ...")
    # A batch of rows of like length needs little padding.
    parser.set_defaults(train_sampling_strategy="group_by_length")
    arguments, from_file = sys.argv[1:], {}
    with ending_with_one_line("Arguments"):
        if len(arguments) == 1 and arguments[0].endswith(".json"):
            arguments, from_file = [], json.loads(Path(arguments[0]).read_text())
        parser.set_defaults(**from_file)
        defaults = recipe_defaults(parser.parse_args(arguments)) | from_file
        unknown = defaults.keys() - {option.name for cls in argument_classes for option in fields(cls)}
        if unknown:
            raise SystemExit(f"Unknown arguments: {', '.join(sorted(unknown))}")
        parser.set_defaults(**defaults)
        return parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)


def recipe_defaults(model_args: Any) -> dict[str, Any]:
    """Return the training defaults that lie beside the config of a model that starts from scratch."""
    file = Path(_config_source(model_args)) / "training_args.json"
    if model_args.model_name_or_path is not None or not file.exists():
        return {}
    return json.loads(file.read_text())


def _config_source(model_args: Any) -> str:
    name = model_args.config_name or model_args.model_name_or_path or DEFAULT_RECIPE
    is_recipe = name != model_args.model_name_or_path and (RECIPES / name).is_dir()
    return str(RECIPES / name) if is_recipe else name


def set_up_logging(training_args: TrainingArguments) -> None:
    """Let the scripts speak on the main process, and the libraries as loud as --log_level says."""
    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        handlers=[logging.StreamHandler(sys.stdout)],
    )
    for name in ("examples", "wave_hf"):
        logging.getLogger(name).setLevel(logging.INFO if training_args.should_log else logging.WARNING)
    level = training_args.get_process_log_level()
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)


def check_request(model_args: ModelArguments, training_args: TrainingArguments) -> None:
    """Refuse a run that has nothing to do, or no model to do it with."""
    if not (training_args.do_train or training_args.do_eval or training_args.do_predict):
        raise SystemExit("Nothing to do: pass --do_train, --do_eval or --do_predict")
    if not training_args.do_train and model_args.model_name_or_path is None:
        raise SystemExit("Without --do_train there must be a model already: pass --model_name_or_path")


def check_output_folder(training_args: TrainingArguments) -> None:
    """Refuse to train over a finished model or an unfinished run."""
    folder, resumed = Path(str(training_args.output_dir)), training_args.resume_from_checkpoint
    if resumed and not Path(resumed).is_dir():
        raise SystemExit(f"--resume_from_checkpoint: there is no folder {resumed}")
    if not training_args.do_train or resumed or not folder.is_dir():
        return
    if (folder / "config.json").exists() and any(folder.glob("model*.safetensors")):
        raise SystemExit(f"{folder} holds a finished model: choose another --output_dir")
    checkpoint = get_last_checkpoint(str(folder))
    if checkpoint:
        raise SystemExit(
            f"{folder} holds an unfinished run: --resume_from_checkpoint {checkpoint} continues it, "
            "another --output_dir starts anew"
        )


def load_raw_datasets(data_args: DataArguments, model_args: ModelArguments) -> DatasetDict:
    """Load the splits of the dataset, the files, or the embedded corpus."""
    if data_args.dataset_name:
        with ending_with_one_line(data_args.dataset_name):
            return load_dataset(
                data_args.dataset_name,
                data_args.dataset_config_name,
                cache_dir=model_args.cache_dir,
                token=model_args.token,
            )
    if not data_args.files:
        logger.info("No data is named: using the embedded corpus")
        return load_embedded_corpus()
    # One by one: rows to predict may lack columns of the training rows.
    return DatasetDict({split: _load_file(file, model_args.cache_dir) for split, file in data_args.files.items()})


def _load_file(file: str, cache_dir: str | None) -> Dataset:
    file_format = Path(file).suffix[1:]
    # Only an empty cell is missing: "NA" or "None" may be a text or a label.
    options = {"keep_default_na": False, "na_values": [""]} if file_format == "csv" else {}
    with ending_with_one_line(file):
        return load_dataset(file_format, data_files=file, split="train", cache_dir=cache_dir, **options)


def hold_out_rows(dataset: Dataset, percentage: int, seed: int, classes: Iterable[str] | None) -> DatasetDict:
    """Split off validation rows, with the same share of every class if all classes have the rows for it."""
    rows = np.arange(len(dataset))
    options = {"test_size": percentage / 100, "random_state": seed}
    try:
        train, validation = train_test_split(rows, stratify=classes, **options)
    except ValueError:
        with ending_with_one_line("Holding out validation rows"):
            train, validation = train_test_split(rows, **options)
    logger.info(f"No validation rows: evaluating on {len(validation)} of the {len(rows)} training rows, held out")
    return DatasetDict(train=dataset.select(sorted(train)), validation=dataset.select(sorted(validation)))


def load_config(model_args: ModelArguments) -> PreTrainedConfig:
    """Load the config of the recipe, path or Hub id, with --config_overrides."""
    overrides = _parse_overrides(model_args.config_overrides or "")
    name = model_args.config_name or model_args.model_name_or_path or DEFAULT_RECIPE
    recipes = ", ".join(sorted(file.parent.name for file in RECIPES.glob("*/config.json")))
    with ending_with_one_line(f"Config {name} (the recipes are {recipes})"):
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
    model_args: ModelArguments, config: PreTrainedConfig, texts: Iterable[str], checkpoint: str | None
) -> PreTrainedTokenizerBase:
    """Load the tokenizer, or train one on the texts, and fit the config of a new model to it.

    Args:
        model_args: Name the tokenizer, if it is not to be trained.
        config: Its vocab_size is what a trained tokenizer aims at. From scratch, vocab_size and pad_token_id are set.
        texts: The training texts.
        checkpoint: The run that is resumed: its tokenizer is used again.
    """
    name = model_args.tokenizer_name or model_args.model_name_or_path or checkpoint
    tokenizer: PreTrainedTokenizerBase
    with ending_with_one_line(f"Tokenizer {name or 'of the training texts'}"):
        if name is None:
            tokenizer = train_tokenizer(texts, vocab_size=config.vocab_size)
        else:
            tokenizer = AutoTokenizer.from_pretrained(name, **model_args.hub_options)
    if model_args.model_name_or_path is None:
        config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    elif len(tokenizer) > config.vocab_size:
        raise SystemExit(
            f"Tokenizer {name} has {len(tokenizer)} tokens, but the token table of "
            f"{model_args.model_name_or_path} only {config.vocab_size} rows"
        )
    return tokenizer


def load_model(model_args: ModelArguments, config: PreTrainedConfig, task: Task, seed: int) -> PreTrainedModel:
    """Load the checkpoint, or make a new model whose weights depend on nothing but config, task and seed."""
    task.write_to(config)
    set_seed(seed)
    if model_args.model_name_or_path is None:
        return AutoModelForSequenceClassification.from_config(config, trust_remote_code=model_args.trust_remote_code)
    with ending_with_one_line(f"Model {model_args.model_name_or_path}"):
        return AutoModelForSequenceClassification.from_pretrained(
            model_args.model_name_or_path,
            config=config,
            ignore_mismatched_sizes=model_args.ignore_mismatched_sizes,
            **model_args.hub_options,
        )


class SeededLengthGroupedSampler(LengthGroupedSampler):
    """Groups rows of like length in an order that depends on nothing but the seed and the epoch.

    So a resumed run sees the rows in the order of the uninterrupted run, and so do all processes.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


class SetEpochCallback(TrainerCallback):
    """Tells the sampler its epoch before Trainer wraps the data loader to skip the batches of a resumed epoch.

    Through that wrapper accelerate does not reach the sampler if there are several processes.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Pass the epoch on."""
        kwargs["train_dataloader"].set_epoch(int(state.epoch))


class LengthGroupedTrainer(Trainer):
    """Trainer whose batches hold texts of like length, so that little of them is padding.

    Training does so with --train_sampling_strategy group_by_length; unlike Trainer's, this order survives a resume.
    Evaluation does so always, and returns predictions in the order of the rows.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.add_callback(SetEpochCallback())

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> torch.utils.data.Sampler | None:
        if train_dataset is None or self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return SeededLengthGroupedSampler(batch_size, _text_lengths(train_dataset).tolist(), seed)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Any:
        return np.argsort(_text_lengths(eval_dataset), kind="stable").tolist()

    def predict(self, test_dataset: Dataset, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Return what Trainer predicts, in the order of the rows and not of their lengths."""
        output = super().predict(test_dataset, *args, **kwargs)
        rows = np.argsort(self._get_eval_sampler(test_dataset))
        labels = None if output.label_ids is None else output.label_ids[rows]
        return output._replace(predictions=output.predictions[rows], label_ids=labels)


def _text_lengths(rows: Dataset) -> np.ndarray:
    return pc.list_value_length(rows.with_format("arrow")[:]["input_ids"]).to_numpy()


def run_facts(model: PreTrainedModel, training_args: TrainingArguments) -> dict[str, int]:
    """Return what a reader of the results wants to know of the run besides its metrics."""
    parameters = model.num_parameters()
    token_table = sum(parameter.numel() for parameter in model.get_input_embeddings().parameters())
    return {
        "parameters": parameters,
        "parameters_outside_token_table": parameters - token_table,
        "world_size": training_args.world_size,
        "seed": training_args.seed,
    }


def report(trainer: Trainer, split: str, metrics: dict[str, float]) -> None:
    """Print the metrics and write them to `{split}_results.json` and `all_results.json`."""
    trainer.log_metrics(split, metrics)
    trainer.save_metrics(split, metrics)


def write_predictions(file: Path, header: list[str], columns: list[list[str]]) -> None:
    """Write tab-separated columns, each row with its index; the file appears when it is complete."""
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", *header])
        writer.writerows(zip(range(len(columns[0])), *columns, strict=True))
    os.replace(unfinished, file)
