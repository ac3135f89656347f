#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train and evaluate a model that chooses which of four endings continues a text.

The flow and the options are those of transformers' example of the same name, and so are the columns: `sent1`, `sent2`
(the start of each ending), `ending0` to `ending3` and `label` (the number of the right ending). In addition a model
may start from scratch:

    python run_swag.py --config_name wave-pair --train_file FILE --do_train --do_eval --output_dir DIR

Without data it learns which sentence follows the first one of a documentation string.
"""

from itertools import chain
from typing import Any

from datasets import Dataset, Features, Value
from sklearn.metrics import accuracy_score
from transformers import (
    AutoModelForMultipleChoice,
    DataCollatorForMultipleChoice,
    EvalPrediction,
    PreTrainedTokenizerBase,
)

from wave_hf.documentation_tasks import load_next_sentences
from wave_hf.training.arguments import DataArguments
from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import check_columns, hold_out_and_limit, load_raw_datasets, select_splits
from wave_hf.training.errors import exit_all_ranks, exit_on_error
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.labels import read_label
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.readers import text_or_empty
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.tokenizing import length_options, map_options
from wave_hf.training.trainer import make_trainer, train_and_evaluate

ENDINGS = [f"ending{i}" for i in range(4)]
TEXTS = ["sent1", "sent2", *ENDINGS]
# The number of each label. As floats, pandas writes whole numbers if one is missing.
LABELS = {text: label for label in range(len(ENDINGS)) for text in (f"{label}", f"{label}.0")}


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(DataArguments)
        needed = needed_splits(training_args)

        # Rows of texts and the number of the right ending, with validation rows held out if there are none.
        config = load_config(model_args)
        raw = load_raw_datasets(model_args, data_args, load_next_sentences)
        raw = select_splits(raw, {split: split for split in ("train", "validation")}, needed, "label")
        read = {split: read_rows(of_split, split) for split, of_split in raw.items()}
        rows = hold_out_and_limit(read, data_args, needed, training_args.seed)

        # A new tokenizer is trained on the training texts.
        texts = chain(*(rows["train"][name] for name in TEXTS)) if "train" in rows else ()
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args, config, texts, training_args.seed, checkpoint, AutoModelForMultipleChoice
        )
        # Four pairs of texts for each row.
        options = length_options(tokenizer, model.config, data_args, is_training="train" in rows)
        splits = {split: tokenize(of_split, tokenizer, options, data_args) for split, of_split in rows.items()}
        create_repository(training_args)

    collator = DataCollatorForMultipleChoice(tokenizer)
    trainer = make_trainer(training_args, model, tokenizer, splits, compute_metrics, data_collator=collator)
    train_and_evaluate(trainer, splits)
    publish(trainer, model_args, data_args, "multiple-choice")


def read_rows(rows: Dataset, split: str) -> Dataset:
    """Reduce rows to their texts and the number of the right ending."""
    check_columns(split, TEXTS, rows.column_names)

    def read(row: dict[str, Any], index: int) -> dict[str, Any]:
        with exit_on_error(f"Row {index} of the {split} data"):
            label = read_label(row["label"], rows.features["label"])
            texts = {name: text_or_empty(row[name]) for name in TEXTS}
        if label not in LABELS:
            raise SystemExit(f"Row {index} of the {split} data has the label {label}, but should have 0 to 3")
        return {**texts, "label": LABELS[label]}

    features = Features({**dict.fromkeys(TEXTS, Value("string")), "label": Value("int64")})
    options = {"with_indices": True, "remove_columns": rows.column_names, "features": features}
    return rows.map(read, desc=f"Reading {split} rows", **options)


def tokenize(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, options: dict[str, Any], data_args: DataArguments
) -> Dataset:
    """Turn each row into the token ids of four pairs: `sent1`, and `sent2` with each of the endings."""
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

    return rows.map(encode, **map_options(rows, data_args))


def compute_metrics(output: EvalPrediction) -> dict[str, float]:
    """Return the accuracy."""
    logits: Any = output.predictions
    return {"accuracy": float(accuracy_score(output.label_ids, logits.argmax(axis=-1)))}


if __name__ == "__main__":
    main()
