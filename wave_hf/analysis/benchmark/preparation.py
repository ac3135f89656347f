# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Training the classifiers that `benchmark.py --measure predictions` compares, each into a folder of its own."""

import json
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import torch
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tokenizers import Tokenizer
from transformers import AutoModel, HfArgumentParser, PreTrainedTokenizerBase, TrainingArguments

from ...files import load_classifier
from ...folding import fold
from ...modeling_wave import WaveForSequenceClassification
from ...tokenization import load_saved_tokenizer
from ...training.arguments import ModelArguments, recipe_defaults
from ...training.baselines import train_fasttext
from ...training.classification import ClassificationArguments, read_classification_rows
from ...training.data import load_splits
from ...training.errors import exit_on_error
from ...training.labels import infer_task
from ...training.loading import load_config, load_model_and_tokenizer
from ...training.rows import tokenize, training_texts
from ...training.tasks import Task, make_compute_metrics
from ...training.trainer import make_trainer
from .measure import PredictionConditions
from .predictors import EncoderBfloat16, EncoderOnnx, Model2Vec, split_words

NETWORK = ModelArguments(config_name="wave-small")  # it folds

FASTTEXT_SETTINGS = {"dim": 100, "epoch": 5, "lr": 0.25}
ENCODED_ROWS = 10_000  # training rows of the logistic regression on an encoder, which reads a few hundred a second
ENCODER_TOKENS = 256  # where sentence-transformers cuts texts for all-MiniLM-L6-v2

# What some predictors need: an option, or a library that the scripts do not need.
OPTIONS = {"model2vec": "static_model", "encoder-bfloat16": "encoder", "encoder-onnx-int8": "encoder"}
LIBRARIES = {
    "onnx-float32": "onnxruntime",
    "onnx-int8": "onnxruntime",
    "fasttext-words": "fasttext",
    "fasttext-pairs": "fasttext",
    "model2vec": "model2vec",
    "encoder-onnx-int8": "onnxruntime",
}

logger = logging.getLogger(__name__)


def load_rows(conditions: PredictionConditions) -> tuple[dict[str, Dataset], Task]:
    """Return the training and validation rows, `text` and `label`, and their task.

    Raises:
        SystemExit: The rows cannot be read, or do not have one label each.
    """
    needed = {"train", "validation"}
    data_args = data_arguments(conditions)
    raw = load_splits(ModelArguments(), data_args, needed)
    task = infer_task(load_config(NETWORK), raw, data_args.label_column_name)
    if task.problem_type != "single_label_classification":
        raise SystemExit(f"Predictors are compared on rows with one label each, but the task is {task.problem_type}")
    return read_classification_rows(raw, task, data_args, needed), task


def data_arguments(conditions: PredictionConditions) -> ClassificationArguments:
    """Return the options of `run_classification.py` for the same rows."""
    with exit_on_error("Arguments"):
        return ClassificationArguments(train_file=conditions.train_file, validation_file=conditions.validation_file)


def prepare(
    conditions: PredictionConditions, rows: dict[str, Dataset], task: Task, folder: Path
) -> tuple[dict[str, Path], Tokenizer]:
    """Train each predictor, and save it to a folder of its own.

    Args:
        conditions: Which predictors.
        rows: The training rows.
        task: Their task.
        folder: Where to make the folders.

    Returns:
        The folder of each predictor, and the tokenizer of the Wave Network. What needs a missing library or model is
        left out, with a line in the log.

    Raises:
        SystemExit: A model cannot be loaded, does not fold, or has other labels.
    """
    model, tokenizer = (
        load_network(conditions.model_name_or_path, task)
        if conditions.model_name_or_path
        else train_network(conditions, rows, task, folder)
    )
    tokenizer.backend_tokenizer.no_truncation()
    texts, labels = list(rows["train"]["text"]), list(rows["train"]["label"])
    save: dict[str, Callable[[Path], Any]] = {
        "folded-float32": lambda target: fold(model, tokenizer, "float32").save(target),
        "folded-int8": lambda target: fold(model, tokenizer, "int8").save(target),
        "onnx-float32": lambda target: save_onnx(model, tokenizer, target, int8=False),
        "onnx-int8": lambda target: save_onnx(model, tokenizer, target, int8=True),
        "pytorch": lambda target: save_network(model, tokenizer, target),
        "fasttext-words": lambda target: save_fasttext(texts, labels, task, 1, target),
        "fasttext-pairs": lambda target: save_fasttext(texts, labels, task, 2, target),
        "tfidf-words": lambda target: save_tfidf(texts, labels, target),
        "model2vec": lambda target: save_model2vec(str(conditions.static_model), texts, labels, target),
        "encoder-bfloat16": lambda target: save_encoder(str(conditions.encoder), texts, labels, target),
        "encoder-onnx-int8": lambda target: save_encoder_onnx(str(conditions.encoder), texts, labels, target),
    }
    folders = {}
    for name in conditions.predictors:
        if reason := find_obstacle(name, conditions):
            logger.info(f"{name} is left out: {reason}.")
            continue
        folders[name] = folder / name
        folders[name].mkdir()
        with exit_on_error(name):
            save[name](folders[name])
    if not folders:
        raise SystemExit("No predictor is left to measure.")
    return folders, tokenizer.backend_tokenizer


def find_obstacle(name: str, conditions: PredictionConditions) -> str | None:
    """Return why a predictor cannot be measured, or `None`."""
    option, library = OPTIONS.get(name), LIBRARIES.get(name)
    if option and getattr(conditions, option) is None:
        return f"it needs --{option}"
    if library and find_spec(library) is None:
        return f"{library} is not installed"
    return None


# The Wave Network


def load_network(model_dir: str, task: Task) -> tuple[WaveForSequenceClassification, Any]:
    """Load a network, which must have the labels of the rows."""
    with exit_on_error(f"Model {model_dir}"):
        model, tokenizer = load_classifier(model_dir)
    if missing := sorted(set(task.label_names) - set(Task.of_config(model.config).label_names)):
        raise SystemExit(f"Model {model_dir}: it lacks the label {missing[0]!r} of the rows")
    return model, tokenizer


def train_network(
    conditions: PredictionConditions, rows: dict[str, Dataset], task: Task, folder: Path
) -> tuple[WaveForSequenceClassification, Any]:
    """Train a network as `run_classification.py` does."""
    options = recipe_defaults(NETWORK) | {"output_dir": str(folder / "training"), "report_to": "none"}
    options |= {"train_sampling_strategy": "group_by_length", "use_cpu": str(not torch.accelerator.is_available())}
    command_line = [part for name, value in options.items() for part in (f"--{name}", value)]
    parser = HfArgumentParser(TrainingArguments)  # type: ignore[arg-type]
    (training_args,) = parser.parse_args_into_dataclasses(command_line)
    config = load_config(NETWORK)
    task.write_to(config)
    model: Any
    model, tokenizer = load_model_and_tokenizer(NETWORK, config, training_texts(rows), training_args.seed, None)
    splits = tokenize({"train": rows["train"]}, tokenizer, config, task, data_arguments(conditions))
    make_trainer(training_args, model, tokenizer, splits, make_compute_metrics(task, task.default_metrics)).train()
    return model.eval(), tokenizer


def save_network(model: WaveForSequenceClassification, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a network and its tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_onnx(
    model: WaveForSequenceClassification, tokenizer: PreTrainedTokenizerBase, folder: Path, int8: bool
) -> None:
    """Save a network as model.onnx, with its tokenizer and its labels."""
    import onnx_ir

    from ...onnx_export import quantize, to_onnx  # here, because the libraries may be missing

    program = to_onnx(model)
    onnx_ir.save(quantize(program) if int8 else program, folder / "model.onnx")
    model.config.to_json_file(folder / "config.json")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


# Baselines


def save_fasttext(texts: list[str], labels: list[str], task: Task, ngrams: int, folder: Path) -> None:
    """Train fastText with words, or with words and pairs of them."""
    ids = [task.encode(label) for label in labels]
    model = train_fasttext([split_words(text) for text in texts], ids, wordNgrams=ngrams, **FASTTEXT_SETTINGS)
    model.save_model(str(folder / "model.bin"))
    content = {"id2label": {str(label): name for label, name in enumerate(task.label_names)}}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")


def save_tfidf(texts: list[str], labels: list[str], folder: Path) -> None:
    """Train a logistic regression on tf-idf."""
    classifier = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    joblib.dump(classifier.fit(texts, labels), folder / "classifier.joblib")


def save_model2vec(static_model: str, texts: list[str], labels: list[str], folder: Path) -> None:
    """Train a logistic regression on static vectors."""
    from model2vec import StaticModel

    StaticModel.from_pretrained(static_model).save_pretrained(folder)
    save_regression(Model2Vec(folder, torch.get_num_threads()).embed(texts), labels, folder)


def save_encoder(encoder: str, texts: list[str], labels: list[str], folder: Path) -> None:
    """Train a logistic regression on the vectors of an encoder in bfloat16."""
    save_encoder_tokenizer(encoder, folder)
    AutoModel.from_pretrained(encoder, dtype=torch.bfloat16, trust_remote_code=False).save_pretrained(folder)
    predictor = EncoderBfloat16(folder, torch.get_num_threads())
    save_regression(predictor.embed(texts[:ENCODED_ROWS]), labels[:ENCODED_ROWS], folder)


def save_encoder_onnx(encoder: str, texts: list[str], labels: list[str], folder: Path) -> None:
    """Train a logistic regression on the vectors of an encoder in onnxruntime, in int8."""
    import onnx_ir

    from ...onnx_export import export_graph, quantize

    save_encoder_tokenizer(encoder, folder)
    model = AutoModel.from_pretrained(encoder, dtype=torch.float32, trust_remote_code=False).eval()
    program = export_graph(model, ["input_ids", "attention_mask"])
    onnx_ir.save(quantize(program), folder / "model.onnx")
    predictor = EncoderOnnx(folder, torch.get_num_threads())
    save_regression(predictor.embed(texts[:ENCODED_ROWS]), labels[:ENCODED_ROWS], folder)


def save_encoder_tokenizer(encoder: str, folder: Path) -> None:
    """Save the tokenizer of an encoder, which cuts long texts."""
    tokenizer = Tokenizer.from_str(load_saved_tokenizer(encoder).backend_tokenizer.to_str())
    tokenizer.enable_truncation(ENCODER_TOKENS)
    tokenizer.save(str(folder / "tokenizer.json"))


def save_regression(vectors: Any, labels: list[str], folder: Path) -> None:
    """Train a logistic regression on vectors `(B, H)`."""
    joblib.dump(LogisticRegression(max_iter=1000).fit(vectors, labels), folder / "classifier.joblib")
