#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a text classifier: one label per text, several labels, or a number.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, from a recipe of examples/configs, with a tokenizer trained on the training texts:

    python examples/run_classification.py --train_file TRAIN.csv --do_train --do_eval --output_dir DIR
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    DataArguments,
    LengthGroupedTrainer,
    ModelArguments,
    Task,
    check_output_folder,
    check_request,
    ending_with_one_line,
    hold_out_rows,
    load_config,
    load_model,
    load_raw_datasets,
    load_tokenizer,
    parse_arguments,
    recipe_defaults,
    report,
    run_facts,
    set_up_logging,
    write_predictions,
)
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import EvalPrediction, PreTrainedConfig, PreTrainedTokenizerBase, Trainer, TrainingArguments

logger = logging.getLogger("examples.run_classification")


@dataclass
class DataTrainingArguments(DataArguments):
    """Which rows and columns are read, and what is made of them."""

    text_column_names: str | None = field(
        default=None, metadata={"help": "Text columns, with commas between; they are joined. None: text, or sentence."}
    )
    text_column_delimiter: str = field(default=" ", metadata={"help": "Stands between the joined texts."})
    label_column_name: str = field(
        default="label", metadata={"help": "Label column: names or numbers of classes, lists of them, or floats."}
    )
    # Not `bool | None`, which would want a value on the command line.
    do_regression: bool = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Regression or not. None: if the labels are floats."}
    )
    train_split_name: str = field(default="train", metadata={"help": "Split to train on."})
    validation_split_name: str = field(default="validation", metadata={"help": "Split to evaluate on."})
    test_split_name: str = field(default="test", metadata={"help": "Split to predict."})
    remove_splits: str | None = field(default=None, metadata={"help": "Splits to ignore, with commas between."})
    remove_columns: str | None = field(default=None, metadata={"help": "Columns to ignore, with commas between."})
    shuffle_train_dataset: bool = field(
        default=False, metadata={"help": "Shuffle before max_train_samples is applied."}
    )
    shuffle_seed: int = field(default=42, metadata={"help": "Seed of that, and of the choice of held-out rows."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes that tokenize."})
    metric_name: str | None = field(
        default=None, metadata={"help": "Metric of the evaluate library. None: accuracy, micro-averaged F1 or mse."}
    )
    output_probabilities: bool = field(default=False, metadata={"help": "Write each label's probability, too."})


def main() -> None:
    """Do what the command line asks for."""
    model_args, data_args, training_args = parse_arguments(ModelArguments, DataTrainingArguments, TrainingArguments)
    set_up_logging(training_args)
    logger.info(f"Defaults of the recipe (the command line wins): {recipe_defaults(model_args)}")
    check_request(model_args, training_args)
    check_output_folder(training_args)

    config = load_config(model_args)
    raw = select_splits(load_raw_datasets(data_args, model_args), data_args, training_args)
    task = find_task(config, raw["train"] if training_args.do_train else None, data_args)
    if data_args.output_probabilities and task.problem_type == "regression":
        raise SystemExit("--output_probabilities: a regression has no probabilities")
    splits = {split: read_rows(rows, split, task, data_args) for split, rows in raw.items()}
    check_labels(splits, task)
    splits = choose_rows(splits, task, data_args, training_args)

    texts = splits["train"]["text"] if training_args.do_train else []
    tokenizer = load_tokenizer(model_args, config, texts, training_args.resume_from_checkpoint)
    compute_metrics = load_metrics(data_args.metric_name, task)
    model = load_model(model_args, config, task, training_args.seed)
    with training_args.main_process_first(desc="tokenizing"):
        splits = {split: tokenize(rows, tokenizer, config, task, data_args) for split, rows in splits.items()}

    trainer = LengthGroupedTrainer(
        model=model,
        args=training_args,
        train_dataset=splits.get("train"),
        eval_dataset=splits.get("validation"),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    facts = run_facts(model, training_args)
    logger.info(f"This run: {facts}")
    if training_args.do_train:
        result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.save_state()
        report(trainer, "train", result.metrics | facts | {"train_samples": len(splits["train"])})
    if training_args.do_eval:
        report(trainer, "eval", trainer.evaluate() | facts | {"eval_samples": len(splits["validation"])})
    if training_args.do_predict:
        predict(trainer, splits["test"], task, data_args.output_probabilities)
    publish(trainer, model_args, data_args)


def select_splits(raw: DatasetDict, data_args: DataTrainingArguments, training_args: TrainingArguments) -> DatasetDict:
    """Return the splits this run needs, called train, validation and test, without the columns to ignore."""
    names = {
        "train": data_args.train_split_name,
        "validation": data_args.validation_split_name,
        "test": data_args.test_split_name,
    }
    removed_splits = (data_args.remove_splits or "").split(",")
    removed_columns = (data_args.remove_columns or "").split(",")
    found = {split: raw[name] for split, name in names.items() if name in raw.keys() - removed_splits}
    needed = {"train": training_args.do_train, "validation": training_args.do_eval, "test": training_args.do_predict}
    if training_args.do_eval and "validation" not in found and "train" in found:
        needed |= {"train": True, "validation": False}  # held-out training rows stand in
    selected = DatasetDict()
    for split in (split for split, is_needed in needed.items() if is_needed):
        if split not in found:
            raise SystemExit(f"This run needs {split} data, but there is only: {', '.join(found) or 'none'}")
        columns = found[split].column_names
        if split != "test":
            check_columns(split, [data_args.label_column_name], columns)
        selected[split] = found[split].select_columns([column for column in columns if column not in removed_columns])
    return selected


def check_columns(split: str, wanted: list[str], columns: list[str]) -> None:
    """Refuse data that lacks a column, and tell the columns there are."""
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise SystemExit(f"The {split} data has no column {missing[0]}, but {', '.join(columns)}")


def find_task(config: PreTrainedConfig, train_rows: Dataset | None, data_args: DataTrainingArguments) -> Task:
    """Tell the task by the training rows; without training it is the checkpoint's."""
    checkpoint_task = Task.of_config(config)
    if train_rows is None:
        return checkpoint_task
    feature = train_rows.features[data_args.label_column_name]
    is_regression = data_args.do_regression
    if is_regression is None:
        is_regression = isinstance(feature, Value) and feature.dtype in ("float32", "float64")
    if is_regression:
        return Task("regression", ["LABEL_0"])
    names = read_label_names(train_rows, data_args.label_column_name)
    if len(names) < 2:
        raise SystemExit(f"Classification needs two labels, but the training data has {', '.join(names) or 'none'}")
    if set(names) == set(checkpoint_task.label_names):
        names = checkpoint_task.label_names  # in the checkpoint's order
    return Task("multi_label_classification" if isinstance(feature, List) else "single_label_classification", names)


def read_label_names(rows: Dataset, column: str) -> list[str]:
    """Return the names of a ClassLabel, or the values in their order."""
    feature = rows.features[column]
    if isinstance(feature, List):
        feature = feature.feature
    if isinstance(feature, ClassLabel):
        return feature.names
    return [str(label) for label in sorted(distinct_labels(rows, column) - {None})]


def distinct_labels(rows: Dataset, column: str) -> set[Any]:
    """Return the labels that occur."""
    if isinstance(rows.features[column], List):
        return set(chain.from_iterable(labels or [] for labels in rows[column]))
    return set(rows.unique(column))


def read_rows(rows: Dataset, split: str, task: Task, data_args: DataTrainingArguments) -> Dataset:
    """Reduce rows to their text and, where there is one, their label: a name, names, or a value."""
    columns, label_column = rows.column_names, data_args.label_column_name
    default = "text" if "text" in columns else "sentence"
    text_columns = (data_args.text_column_names or default).split(",")
    check_columns(split, text_columns, columns)
    label_feature = rows.features.get(label_column)
    features = Features({"text": Value("string")})
    if label_feature is not None:
        features["label"] = task.label_feature

    def read(batch: dict[str, list]) -> dict[str, list]:
        texts = zip(*(batch[column] for column in text_columns), strict=True)
        result = {"text": [join_texts(parts, data_args.text_column_delimiter) for parts in texts]}
        if label_feature is not None:
            result["label"] = [read_label(label, label_feature, task) for label in batch[label_column]]
        return result

    with ending_with_one_line(f"The {split} data"):
        return rows.map(read, batched=True, remove_columns=columns, features=features, desc=f"Reading {split} rows")


def join_texts(parts: Iterable[Any], delimiter: str) -> str:
    """Join the texts of a row; one that is missing counts as empty."""
    return delimiter.join("" if part is None else str(part) for part in parts)


def read_label(label: Any, feature: Any, task: Task) -> Any:
    """Return the label as its name or value; None if it is missing, or hidden (-1) as in test data of the Hub."""
    if isinstance(feature, List):
        return [read_label(item, feature.feature, task) for item in label or []]
    if label is None or (isinstance(feature, ClassLabel) and label < 0):
        return None
    if task.problem_type == "regression":
        return float(label)
    return feature.int2str(label) if isinstance(feature, ClassLabel) else str(label)


def check_labels(splits: dict[str, Dataset], task: Task) -> None:
    """Refuse rows without a label, except those to predict, and labels that the model has no output for."""
    for split, rows in splits.items():
        labels = distinct_labels(rows, "label") if "label" in rows.column_names else set()
        if None in labels and split != "test":
            raise SystemExit(f"The {split} data has rows without a label")
        unknown = labels - {None, *task.label_names}
        if unknown and task.problem_type != "regression":
            raise SystemExit(f"The {split} data has labels the model is not trained for: {', '.join(sorted(unknown))}")


def choose_rows(
    splits: dict[str, Dataset], task: Task, data_args: DataTrainingArguments, training_args: TrainingArguments
) -> dict[str, Dataset]:
    """Hold out validation rows if there are none, shuffle if wanted, and take the first rows up to the limits."""
    chosen = dict(splits)
    if training_args.do_eval and "validation" not in chosen:
        classes = chosen["train"]["label"] if task.problem_type == "single_label_classification" else None
        percentage, seed = data_args.validation_split_percentage, data_args.shuffle_seed
        chosen |= hold_out_rows(chosen["train"], percentage, seed, classes)
    if not training_args.do_train:
        chosen.pop("train", None)
    elif data_args.shuffle_train_dataset:
        chosen["train"] = chosen["train"].shuffle(seed=data_args.shuffle_seed)
    if "test" in chosen:
        chosen["test"] = chosen["test"].select_columns("text")  # labels may be hidden, and predicting needs none
    limits = {
        "train": data_args.max_train_samples,
        "validation": data_args.max_eval_samples,
        "test": data_args.max_predict_samples,
    }
    return {split: rows.take(min(len(rows), limits[split] or len(rows))) for split, rows in chosen.items()}


def load_metrics(metric_name: str | None, task: Task) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return what Trainer computes metrics with: a metric of the evaluate library, or the task's own."""
    compute: Callable[..., dict[str, Any]] = task.default_metrics
    if metric_name is not None:
        import evaluate  # here, because it takes a second and few runs need it

        is_multi_label = task.problem_type == "multi_label_classification"
        with ending_with_one_line(f"Metric {metric_name}"):
            compute = evaluate.load(metric_name, "multilabel" if is_multi_label else None).compute
        if is_multi_label:
            compute = partial(compute, average="micro")

    def compute_metrics(output: EvalPrediction) -> dict[str, float]:
        logits: Any = output.predictions
        metrics = compute(predictions=task.predictions(logits), references=output.label_ids)
        if len(metrics) > 1:
            metrics["combined_score"] = float(np.mean(list(metrics.values())))
        return metrics

    return compute_metrics


def tokenize(
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    task: Task,
    data_args: DataTrainingArguments,
) -> Dataset:
    """Turn texts into token ids, and labels into what the loss expects."""
    limits = (data_args.max_seq_length, tokenizer.model_max_length, getattr(config, "max_position_embeddings", None))
    max_length = min(limit for limit in limits if limit is not None)
    padding = "max_length" if data_args.pad_to_max_length else False

    def encode(batch: dict[str, list]) -> dict[str, Any]:
        encoded = tokenizer(batch["text"], truncation=True, max_length=max_length, padding=padding)
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


def predict(trainer: Trainer, rows: Dataset, task: Task, output_probabilities: bool) -> None:
    """Predict, and write `predict_results.txt`."""
    logits: Any = trainer.predict(rows, metric_key_prefix="predict").predictions
    header, columns = ["prediction"], [[task.decode(prediction) for prediction in task.predictions(logits)]]
    if output_probabilities:
        header += task.label_names
        columns += [[f"{probability:.6f}" for probability in column] for column in task.probabilities(logits).T]
    if trainer.is_world_process_zero():
        write_predictions(Path(str(trainer.args.output_dir)) / "predict_results.txt", header, columns)


def publish(trainer: Trainer, model_args: ModelArguments, data_args: DataTrainingArguments) -> None:
    """Push the model to the Hub, or write the card of a model that was trained just now."""
    names = [data_args.dataset_name] if data_args.dataset_name else []
    card: dict[str, Any] = {
        "finetuned_from": model_args.model_name_or_path,
        "tasks": "text-classification",
        "dataset": names or ", ".join(Path(file).name for file in data_args.files.values()) or "embedded corpus",
        "dataset_tags": names,
        "dataset_args": [data_args.dataset_config_name] if data_args.dataset_config_name else [],
    }
    if trainer.args.push_to_hub:
        trainer.push_to_hub(**card)
    elif trainer.args.do_train:
        trainer.create_model_card(**card)


if __name__ == "__main__":
    main()
