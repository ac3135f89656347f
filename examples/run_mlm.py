#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Teach a model a language by texts without labels: it tells which tokens stand where some were masked.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, with a tokenizer trained on the texts:

    python examples/run_mlm.py --config_name wave-encoder --train_file TEXTS.txt --do_train --do_eval --output_dir DIR

`run_classification.py --model_name_or_path DIR` and the others then go on from there, with that tokenizer.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from transformers import (
    AutoModelForMaskedLM,
    DataCollatorForLanguageModeling,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from wave_hf.modeling_wave import IGNORE_INDEX
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import column_names, hold_out_and_limit, length_options, load_raw_datasets, select_splits
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.trainer import LengthGroupedTrainer, argmax_logits, make_trainer, train_and_evaluate

STREAMED_TEXTS_OF_TOKENIZER = 100_000


@dataclass
class MlmArguments(DataArguments):
    """Which texts are read, and how much of them is masked."""

    file_formats: ClassVar[tuple[str, ...]] = (".csv", ".json", ".txt")

    text_column_name: str | None = field(default=None, metadata={"help": "Column of texts. None: text, or the first."})
    mlm_probability: float = field(default=0.15, metadata={"help": "Share of the tokens that are to be told."})
    line_by_line: bool = field(
        default=False, metadata={"help": "Each text for itself. Else all are joined, and cut into equal parts."}
    )
    streaming: bool = field(default=False, metadata={"help": "Read the texts as they are needed; wants --max_steps."})


class SeededMasking(DataCollatorForLanguageModeling):
    """Masks by nothing but the seed and the batch, whose rows differ from epoch to epoch.

    So a resumed run masks what the uninterrupted one does, and evaluations can be compared.
    """

    def torch_mask_tokens(self, inputs: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ids with some of them masked, and as labels those that were there, each `(B, T)`."""
        self.generator = self.get_generator((self.seed or 0) + zlib.crc32(inputs.numpy().tobytes()))
        return super().torch_mask_tokens(inputs, *args, **kwargs)


class MaskedLMTrainer(LengthGroupedTrainer):
    """Tells the perplexity, too."""

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return the metrics, and the exponential of the loss as `perplexity`."""
        metrics = super().evaluate(*args, **kwargs)
        return metrics | {"perplexity": math.exp(metrics["eval_loss"])}


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(MlmArguments)
        texts = read_texts(model_args, data_args, training_args)
        model, tokenizer = load(model_args, data_args, training_args, texts)
        splits = {split: tokenize(rows, split, tokenizer, model, data_args) for split, rows in texts.items()}
        create_repository(training_args)
    training_args.include_for_metrics = ["inputs"]
    trainer = make_trainer(
        training_args,
        model,
        tokenizer,
        splits,
        lambda output: score(output, tokenizer.mask_token_id),
        trainer_class=MaskedLMTrainer,
        data_collator=SeededMasking(tokenizer, mlm_probability=data_args.mlm_probability, seed=training_args.seed),
        preprocess_logits_for_metrics=argmax_logits,
    )
    train_and_evaluate(trainer, splits)
    publish(trainer, model_args, data_args, "fill-mask")


def read_texts(
    model_args: ModelArguments, data_args: MlmArguments, training_args: TrainingArguments
) -> Mapping[str, Dataset | IterableDataset]:
    """Return the rows of each split, reduced to `text`."""
    needed = needed_splits(training_args)
    raw = load_raw_datasets(model_args, data_args, streaming=data_args.streaming)
    if data_args.streaming:
        check_streams(raw, needed, training_args)
    columns = column_names(next(iter(raw.values())))
    column = data_args.text_column_name or ("text" if "text" in columns else columns[0])
    raw = select_splits(raw, {split: split for split in ("train", "validation")}, needed, column)
    renamed = {} if column == "text" else {column: "text"}
    texts = {split: rows.select_columns(column).rename_columns(renamed) for split, rows in raw.items()}
    if not data_args.streaming:
        return hold_out_and_limit(texts, data_args, needed, training_args.seed)
    limits = {"train": data_args.max_train_samples, "validation": data_args.max_eval_samples}
    return {split: rows if limits[split] is None else rows.take(limits[split]) for split, rows in texts.items()}


def check_streams(raw: Mapping[str, Any], needed: set[str], training_args: TrainingArguments) -> None:
    """Refuse what needs to know the end of a stream."""
    if "train" in needed and training_args.max_steps <= 0:
        raise SystemExit("--streaming: the number of texts is not known, so tell when training ends by --max_steps")
    if "validation" in needed - raw.keys():
        raise SystemExit("--streaming: no rows can be held out of a stream, so pass --validation_file as well")
    training_args.train_sampling_strategy = "random"  # their lengths are not known, either


def load(
    model_args: ModelArguments,
    data_args: MlmArguments,
    training_args: TrainingArguments,
    texts: Mapping[str, Dataset | IterableDataset],
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model and its tokenizer; a new one is trained on the training texts, of a stream on the first."""
    training_texts = (row["text"] or "" for row in texts.get("train", ()))
    model, tokenizer = load_model_and_tokenizer(
        model_args,
        load_config(model_args),
        islice(training_texts, STREAMED_TEXTS_OF_TOKENIZER if data_args.streaming else None),
        training_args.seed,
        find_trainer_checkpoint(training_args),
        AutoModelForMaskedLM,
    )
    if tokenizer.mask_token is None:
        raise SystemExit("The tokenizer has no mask token, without which no model can learn to tell masked tokens")
    return model, tokenizer


def tokenize(
    rows: Dataset | IterableDataset,
    split: str,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    data_args: MlmArguments,
) -> Dataset | IterableDataset:
    """Turn texts into token ids: each for itself, or joined and cut into parts of `max_seq_length`."""
    options = length_options(tokenizer, model.config, data_args)

    def encode_lines(batch: dict[str, list]) -> dict[str, list]:
        return dict(tokenizer([text for text in batch["text"] if text and not text.isspace()], **options))

    def encode_parts(batch: dict[str, list]) -> dict[str, list]:
        encoded = tokenizer([text or "" for text in batch["text"]], verbose=False)
        size = options["max_length"]
        joined = {name: list(chain.from_iterable(ids)) for name, ids in encoded.items()}
        return {name: [ids[i : i + size] for i in range(0, len(ids), size)] for name, ids in joined.items()}

    encode = encode_lines if data_args.line_by_line else encode_parts
    if isinstance(rows, IterableDataset):
        return rows.map(encode, batched=True, remove_columns=["text"])
    tokenized = rows.map(
        encode,
        batched=True,
        num_proc=data_args.preprocessing_num_workers,
        remove_columns=["text"],
        load_from_cache_file=not data_args.overwrite_cache,
        desc="Tokenizing",
    )
    if not len(tokenized):
        raise SystemExit(f"The {split} data has no text")
    return tokenized


def score(output: EvalPrediction, mask_token_id: int) -> dict[str, float]:
    """Return the share of tokens told rightly, of all and of those that were masked, kept and replaced."""
    labels, inputs, predictions = (np.asarray(part) for part in (output.label_ids, output.inputs, output.predictions))
    asked, is_masked, is_kept = labels != IGNORE_INDEX, inputs == mask_token_id, inputs == labels
    places = {
        "accuracy": asked,
        "accuracy_masked": asked & is_masked,
        "accuracy_kept": asked & is_kept,
        "accuracy_random": asked & ~is_masked & ~is_kept,
    }
    return {name: float((predictions == labels)[where].mean()) for name, where in places.items() if where.any()}


if __name__ == "__main__":
    main()
