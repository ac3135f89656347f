#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a model that tags words: names of persons and places, parts of speech, code.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, and without data it learns to tell the code words of documentation:

    python examples/run_ner.py --config_name wave-encoder --train_file TRAIN.json --do_train --do_eval --output_dir DIR
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, List, Value
from seqeval.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from wave_hf.documentation_tasks import load_code_words
from wave_hf.files import writing
from wave_hf.modeling_wave import IGNORE_INDEX
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import check_columns, hold_out_and_limit, length_options, load_raw_datasets, select_splits
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.labels import check_labels, infer_token_task, read_label
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.tasks import Task
from wave_hf.training.trainer import argmax_logits, make_trainer, train_and_evaluate


@dataclass
class NerArguments(DataArguments):
    """Which columns are read."""

    task_name: str = field(default="ner", metadata={"help": "Tells the column of tags: ner_tags, pos_tags ..."})
    text_column_name: str | None = field(
        default=None, metadata={"help": "Column of words, in lists. None: tokens, or the first."}
    )
    label_column_name: str | None = field(
        default=None, metadata={"help": "Column of tags, in lists. None: as task_name says, or the second."}
    )
    return_entity_level_metrics: bool = field(default=False, metadata={"help": "Tell the metrics of each kind, too."})


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(NerArguments)
        model, tokenizer, task, splits = build(model_args, data_args, training_args)
        create_repository(training_args)
        options = length_options(tokenizer, model.config, data_args)
        encode: Callable = partial(tokenizer, is_split_into_words=True, **options)  # type: ignore[misc]
        tokenized = {split: tokenize(rows, encode, task, data_args) for split, rows in splits.items()}
    trainer = make_trainer(
        training_args,
        model,
        tokenizer,
        tokenized,
        lambda output: score(output, task.label_names, data_args.return_entity_level_metrics),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        preprocess_logits_for_metrics=argmax_logits,
    )
    train_and_evaluate(trainer, tokenized)
    if training_args.do_predict:
        predict(trainer, splits["test"], tokenized["test"], encode, task)
    publish(trainer, model_args, data_args, "token-classification")


def build(
    model_args: ModelArguments, data_args: NerArguments, training_args: TrainingArguments
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Task, dict[str, Dataset]]:
    """Return the model, its tokenizer, the tags, and the rows as tokens and label."""
    needed = needed_splits(training_args)
    config = load_config(model_args)
    raw = load_raw_datasets(model_args, data_args, load_code_words)
    columns = next(iter(raw.values())).column_names
    text_column = data_args.text_column_name or ("tokens" if "tokens" in columns else columns[0])
    named = f"{data_args.task_name}_tags"
    label_column = data_args.label_column_name or (named if named in columns else columns[-1])
    raw = select_splits(raw, {split: split for split in ("train", "validation", "test")}, needed, label_column)
    for split, rows in raw.items():
        check_lists(rows, split, text_column, label_column)
    task = infer_token_task(config, raw, label_column)
    read = {split: read_rows(rows, split, task, text_column, label_column) for split, rows in raw.items()}
    check_labels(read, task)
    splits = hold_out_and_limit(read, data_args, needed, training_args.seed)
    task.write_to(config)
    texts = map(" ".join, splits["train"]["tokens"]) if "train" in splits else ()
    model, tokenizer = load_model_and_tokenizer(
        model_args,
        config,
        texts,
        training_args.seed,
        find_trainer_checkpoint(training_args),
        AutoModelForTokenClassification,
        do_lower_case=False,  # capitals tell names
    )
    return model, tokenizer, task, splits


def check_lists(rows: Dataset, split: str, text_column: str, label_column: str) -> None:
    """Refuse columns that hold no lists, as those of a csv file."""
    check_columns(split, [text_column], rows.column_names)
    for column in {text_column, label_column} & set(rows.column_names):
        if not isinstance(rows.features[column], List):
            raise SystemExit(f"The column {column} of the {split} data holds {rows.features[column]}, but not lists")


def read_rows(rows: Dataset, split: str, task: Task, text_column: str, label_column: str) -> DatasetDict:
    """Reduce rows to their words and, if they have any, the names of their tags."""
    label_feature = rows.features.get(label_column)
    features = {"tokens": List(Value("string"))}
    if label_feature is not None:
        features["label"] = List(Value("string"))

    def read(row: dict[str, Any], index: int) -> dict[str, list]:
        tokens = ["" if token is None else str(token) for token in row[text_column] or []]
        if label_feature is None:
            return {"tokens": tokens}
        tags = read_label(row[label_column], label_feature) or []
        if len(tags) != len(tokens):
            raise SystemExit(f"Row {index} of the {split} data has {len(tokens)} words, but {len(tags)} tags")
        return {"tokens": tokens, "label": tags}

    options = {"with_indices": True, "remove_columns": rows.column_names, "features": Features(features)}
    return rows.map(read, desc=f"Reading {split} rows", **options)


def tokenize(rows: Dataset, encode: Callable, task: Task, data_args: NerArguments) -> Dataset:
    """Turn words into token ids by `encode`, and tags into labels of the first piece of each word."""

    def encode_batch(batch: dict[str, list]) -> dict[str, Any]:
        encoded = encode(batch["tokens"])
        labels = []
        for i, tags in enumerate(batch.get("label", [])):
            words = encoded.word_ids(i)
            labels.append([IGNORE_INDEX] * len(words))
            for place in first_pieces(words):
                labels[i][place] = task.encode(tags[words[place]])
        return {**encoded, "labels": labels} if labels else dict(encoded)

    return rows.map(
        encode_batch,
        batched=True,
        num_proc=data_args.preprocessing_num_workers,
        remove_columns=rows.column_names,
        load_from_cache_file=not data_args.overwrite_cache,
        desc="Tokenizing",
    )


def first_pieces(words: list[int | None]) -> list[int]:
    """Return the places where a word starts, given the word that each piece is of (None: of none)."""
    return [place for place, (before, word) in enumerate(pairwise([None, *words])) if word not in (None, before)]


def score(output: EvalPrediction, names: list[str], has_details: bool) -> dict[str, float]:
    """Return the share of right tags and, if these tell entities (B-, I-, O), precision, recall and F1 of entities."""
    references, predictions = [], []
    for labels, predicted in zip(output.label_ids, output.predictions, strict=True):
        counted = labels != IGNORE_INDEX
        references.append([names[label] for label in labels[counted]])
        predictions.append([names[label] for label in predicted[counted]])
    metrics = {"accuracy": float(accuracy_score(references, predictions))}
    if any(name.startswith(("B-", "I-")) for name in names):
        pair = (references, predictions)
        metrics |= {"precision": precision_score(*pair), "recall": recall_score(*pair), "f1": f1_score(*pair)}
        if has_details:
            kinds = classification_report(*pair, output_dict=True)
            metrics |= {f"{kind}_{name}": value for kind, of_kind in kinds.items() for name, value in of_kind.items()}
    return {name: float(value) for name, value in metrics.items()}


def predict(trainer: Trainer, rows: Dataset, tokenized: Dataset, encode: Callable, task: Task) -> None:
    """Write `predictions.txt`: a line a row, a tag a word; words that were cut off have none."""
    predicted: Any = trainer.predict(tokenized, metric_key_prefix="predict").predictions
    encoded = encode(rows["tokens"][:])
    if trainer.is_world_process_zero():
        with writing(Path(str(trainer.args.output_dir)) / "predictions.txt") as stream:
            for i, labels in enumerate(predicted):
                tags = [task.decode(label) for label in labels[first_pieces(encoded.word_ids(i))]]
                print(*tags, file=stream)


if __name__ == "__main__":
    main()
