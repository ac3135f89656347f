#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train and evaluate a model that chooses which of four endings goes on with a text.

The flow and the options are those of transformers' example of the same name, and so are the columns: `sent1`, `sent2`
(how each ending begins), `ending0` to `ending3` and `label` (the number of the right one). In addition a model may
start from scratch, and without data it learns which sentence goes on with a documentation string:

    python examples/run_swag.py --config_name wave-encoder --train_file FILE --do_train --do_eval --output_dir DIR
"""

from itertools import chain
from typing import Any

from datasets import ClassLabel, Dataset, Features, Value
from sklearn.metrics import accuracy_score
from transformers import (
    AutoModelForMultipleChoice,
    DataCollatorForMultipleChoice,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from wave_hf.documentation_tasks import load_next_sentences
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import check_columns, hold_out_and_limit, length_options, load_raw_datasets, select_splits
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.trainer import make_trainer, train_and_evaluate

ENDINGS = [f"ending{i}" for i in range(4)]
TEXTS = ["sent1", "sent2", *ENDINGS]


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(DataArguments)
        model, tokenizer, splits = build(model_args, data_args, training_args)
        create_repository(training_args)
    collator = DataCollatorForMultipleChoice(tokenizer)
    trainer = make_trainer(training_args, model, tokenizer, splits, score, data_collator=collator)
    train_and_evaluate(trainer, splits)
    publish(trainer, model_args, data_args, "multiple-choice")


def build(
    model_args: ModelArguments, data_args: DataArguments, training_args: TrainingArguments
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Dataset]]:
    """Return the model, its tokenizer and the rows as token ids."""
    needed = needed_splits(training_args)
    config = load_config(model_args)
    raw = load_raw_datasets(model_args, data_args, load_next_sentences)
    raw = select_splits(raw, {split: split for split in ("train", "validation")}, needed, "label")
    read = {split: read_rows(rows, split) for split, rows in raw.items()}
    splits = hold_out_and_limit(read, data_args, needed, training_args.seed)
    texts = chain(*(splits["train"][name] for name in TEXTS)) if "train" in splits else ()
    checkpoint = find_trainer_checkpoint(training_args)
    model, tokenizer = load_model_and_tokenizer(
        model_args, config, texts, training_args.seed, checkpoint, AutoModelForMultipleChoice
    )
    splits = {split: tokenize(rows, tokenizer, model, data_args) for split, rows in splits.items()}
    return model, tokenizer, splits


def read_rows(rows: Dataset, split: str) -> Dataset:
    """Reduce rows to their texts and the number of the right ending."""
    check_columns(split, TEXTS, rows.column_names)
    names = [str(label) for label in range(len(ENDINGS))]
    feature = rows.features["label"]

    def read(row: dict[str, Any], index: int) -> dict[str, Any]:
        label = feature.int2str(row["label"]) if isinstance(feature, ClassLabel) else str(row["label"])
        if label not in names:
            raise SystemExit(f"Row {index} of the {split} data has the label {label}, but should have 0 to 3")
        return {**{name: row[name] or "" for name in TEXTS}, "label": int(label)}

    features = Features({**dict.fromkeys(TEXTS, Value("string")), "label": Value("int64")})
    options = {"with_indices": True, "remove_columns": rows.column_names, "features": features}
    return rows.map(read, desc=f"Reading {split} rows", **options)


def tokenize(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, data_args: DataArguments
) -> Dataset:
    """Turn each row into the token ids of four pairs of texts."""
    options = length_options(tokenizer, model.config, data_args)
    count = len(ENDINGS)

    def encode(batch: dict[str, list]) -> dict[str, list]:
        endings = zip(*(batch[name] for name in ENDINGS), strict=True)
        firsts = [first for first in batch["sent1"] for _ in ENDINGS]
        seconds = [
            f"{start} {ending}".strip()
            for start, of_row in zip(batch["sent2"], endings, strict=True)
            for ending in of_row
        ]
        encoded = tokenizer(firsts, seconds, **options)
        choices = {name: [ids[i : i + count] for i in range(0, len(ids), count)] for name, ids in encoded.items()}
        return {**choices, "labels": batch["label"]}

    return rows.map(
        encode,
        batched=True,
        num_proc=data_args.preprocessing_num_workers,
        remove_columns=rows.column_names,
        load_from_cache_file=not data_args.overwrite_cache,
        desc="Tokenizing",
    )


def score(output: EvalPrediction) -> dict[str, float]:
    """Return the share of right choices."""
    return {"accuracy": float(accuracy_score(output.label_ids, output.predictions.argmax(axis=-1)))}  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
