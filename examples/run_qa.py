#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a model that finds the answer to a question in a text.

The flow and the options are those of transformers' example of the same name, and so are the columns, those of SQuAD:
`id`, `question`, `context` and `answers` (`text` and `answer_start`). In addition a model may start from scratch, and
without data it learns to find what documentation tells of a parameter:

    python examples/run_qa.py --config_name wave-encoder --train_file TRAIN.json --do_train --do_eval --output_dir DIR
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, Features, List, Value
from transformers import (
    AutoModelForQuestionAnswering,
    BatchEncoding,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from wave_hf.documentation_tasks import load_parameters
from wave_hf.files import writing
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import check_columns, hold_out_and_limit, length_options, load_raw_datasets, select_splits
from wave_hf.training.errors import exit_all_ranks, exit_on_error
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.squad import Answers, rank_answers, score_answers, with_probabilities
from wave_hf.training.trainer import LengthGroupedTrainer, make_trainer, train_and_evaluate

ANSWERS = {"text": List(Value("string")), "answer_start": List(Value("int64"))}


@dataclass
class QaArguments(DataArguments):
    """How long contexts are cut into windows, and which answers are considered."""

    max_seq_length: int = field(
        default=384,
        metadata={"help": "Tokens of a question and a window of its context.", "aliases": ["--max_length"]},
    )
    doc_stride: int = field(default=128, metadata={"help": "Tokens that two windows of a context share."})
    n_best_size: int = field(default=20, metadata={"help": "Answers of each question that are written."})
    max_answer_length: int = field(default=30, metadata={"help": "The most tokens of an answer."})
    version_2_with_negative: bool = field(default=False, metadata={"help": "Some questions have no answer."})
    null_score_diff_threshold: float = field(
        default=0.0, metadata={"help": "None is the answer if it scores higher than the best one by more than this."}
    )


class InOrderTrainer(LengthGroupedTrainer):
    """Evaluates in the order of the rows, as the windows of a context belong together."""

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Any:
        return range(len(eval_dataset))


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(QaArguments)
        model, tokenizer, rows, windows = build(model_args, data_args, training_args)
        create_repository(training_args)
    folder = Path(str(training_args.output_dir))

    def score(output: EvalPrediction) -> dict[str, float]:
        logits: Any = output.predictions
        answers = answer(rows["validation"], windows["validation"], logits, data_args, folder, "eval")
        return score_answers(answers, rows["validation"]["answers"])

    trainer = make_trainer(
        training_args,
        model,
        tokenizer,
        windows,
        score,
        trainer_class=InOrderTrainer,
        preprocess_logits_for_metrics=join_logits,
    )
    train_and_evaluate(trainer, windows)
    if training_args.do_predict:
        logits: Any = trainer.predict(windows["test"], metric_key_prefix="predict").predictions
        answer(rows["test"], windows["test"], logits, data_args, folder, "predict")
    publish(trainer, model_args, data_args, "question-answering")


def build(
    model_args: ModelArguments, data_args: QaArguments, training_args: TrainingArguments
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Dataset], dict[str, Dataset]]:
    """Return the model, its tokenizer, the rows, and the windows of their contexts as token ids."""
    needed = needed_splits(training_args)
    config = load_config(model_args)
    raw = load_raw_datasets(model_args, data_args, load_parameters)
    raw = select_splits(raw, {split: split for split in ("train", "validation", "test")}, needed, "answers")
    read = {split: read_rows(rows, split) for split, rows in raw.items()}
    rows = hold_out_and_limit(read, data_args, needed, training_args.seed)
    texts = chain(*(rows["train"][name] for name in ("question", "context"))) if "train" in rows else ()
    checkpoint = find_trainer_checkpoint(training_args)
    model, tokenizer = load_model_and_tokenizer(
        model_args, config, texts, training_args.seed, checkpoint, AutoModelForQuestionAnswering
    )
    options = length_options(tokenizer, model.config, data_args)
    options |= {"truncation": "only_second", "stride": data_args.doc_stride}
    windows = {split: tokenize(of_split, split, tokenizer, options, data_args) for split, of_split in rows.items()}
    return model, tokenizer, rows, windows


def read_rows(rows: Dataset, split: str) -> Dataset:
    """Reduce rows to id, question, context and, unless they are to be predicted, answers."""
    check_columns(split, ["question", "context"], rows.column_names)
    has_answers = split != "test"

    def read(row: dict[str, Any], index: int) -> dict[str, Any]:
        texts = {"question": (row["question"] or "").strip(), "context": row["context"] or ""}
        texts["id"] = str(row["id"]) if "id" in row else str(index)
        if not has_answers:
            return texts
        check_answers(row["answers"], texts["context"], f"Row {texts['id']} of the {split} data")
        return {**texts, "answers": row["answers"]}

    features = {**dict.fromkeys(("question", "context", "id"), Value("string"))}
    features |= {"answers": ANSWERS} if has_answers else {}
    options = {"with_indices": True, "remove_columns": rows.column_names, "features": Features(features)}
    with exit_on_error(f"The {split} data"):
        result = rows.map(read, desc=f"Reading {split} rows", **options)
    if len(set(result["id"])) < len(result):
        raise SystemExit(f"The {split} data has rows of the same id")
    return result


def check_answers(answers: Answers, context: str, row: str) -> None:
    """Refuse answers that do not stand where they should."""
    for text, place in zip(answers["text"], answers["answer_start"], strict=True):
        if not text or context[place : place + len(text)] != text:
            raise SystemExit(f"{row}: the answer {text!r} does not stand at character {place} of the context")


def tokenize(
    rows: Dataset, split: str, tokenizer: PreTrainedTokenizerBase, options: Mapping, data_args: QaArguments
) -> Dataset:
    """Turn questions and contexts into windows: token ids, the row and the characters they are of, and the answer."""
    questions = tokenizer(rows["question"][:], add_special_tokens=False, verbose=False)["input_ids"]
    longest = max(map(len, questions), default=0) + tokenizer.num_special_tokens_to_add(pair=True)
    room = options["max_length"] - longest
    if room <= data_args.doc_stride:
        raise SystemExit(
            f"--doc_stride is {data_args.doc_stride}, but should be below {room}: so many tokens of a context fit "
            f"beside the longest question of the {split} data"
        )

    def encode(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        encoded = tokenizer(
            batch["question"],
            batch["context"],
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            **options,
        )
        samples = encoded["overflow_to_sample_mapping"]
        windows = {name: encoded[name] for name in tokenizer.model_input_names}
        windows["row"] = [indices[sample] for sample in samples]
        windows["offsets"] = [context_offsets(encoded, i) for i in range(len(samples))]
        if "answers" in batch:
            places = [answer_places(encoded, i, batch["answers"][sample]) for i, sample in enumerate(samples)]
            windows["start_positions"], windows["end_positions"] = map(list, zip(*places, strict=True))
        return windows

    return rows.map(
        encode,
        batched=True,
        with_indices=True,
        num_proc=data_args.preprocessing_num_workers,
        remove_columns=rows.column_names,
        load_from_cache_file=not data_args.overwrite_cache,
        desc="Tokenizing",
    )


def context_offsets(encoded: BatchEncoding, window: int) -> list[tuple[int, int]]:
    """Return the characters of the context that each token is of: -1 for tokens of no context."""
    sides, offsets = encoded.sequence_ids(window), encoded["offset_mapping"][window]
    return [pair if side == 1 else (-1, -1) for side, pair in zip(sides, offsets, strict=True)]


def answer_places(encoded: BatchEncoding, window: int, answers: Answers) -> tuple[int, int]:
    """Return the first and the last token of the answer, or twice the first of all if the window has no answer."""
    if answers["text"]:
        place = answers["answer_start"][0]
        characters = (place, place + len(answers["text"][0]) - 1)
        first, last = (encoded.char_to_token(window, character, sequence_index=1) for character in characters)
        if first is not None and last is not None:
            return first, last
    return 0, 0


def join_logits(logits: tuple[torch.Tensor, ...], labels: Any) -> torch.Tensor:
    """Put the scores of starts and ends side by side, `(B, T, 2)`."""
    return torch.stack(logits[:2], dim=-1)


def answer(
    rows: Dataset, windows: Dataset, logits: np.ndarray, args: QaArguments, folder: Path, prefix: str
) -> list[str]:
    """Return the answer of each row, and write answers, those that came close, and the odds that there is none."""
    predictions, n_best, null_odds = {}, {}, {}
    ranked = rank_answers(rows, windows, logits, args.n_best_size, args.max_answer_length)
    for name, (answers, none) in zip(rows["id"], ranked, strict=True):
        predictions[name] = answers[0].text if answers else ""
        n_best[name] = with_probabilities(answers)
        if args.version_2_with_negative:
            null_odds[name] = none - answers[0].score if answers else 0.0
            if null_odds[name] > args.null_score_diff_threshold:
                predictions[name] = ""
    files = {"predictions": predictions, "nbest_predictions": n_best}
    if args.version_2_with_negative:
        files["null_odds"] = null_odds
    if PartialState().is_main_process:
        for name, content in files.items():
            with writing(folder / f"{prefix}_{name}.json") as stream:
                json.dump(content, stream, indent=4)
    return list(predictions.values())


if __name__ == "__main__":
    main()
