# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Extractive question answering, for `run_qa.py`: the options, the rows, windows of contexts, and the predictions."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, DatasetDict, Features, List, Value
from transformers import BatchEncoding, PreTrainedConfig, PreTrainedTokenizerBase

from ..files import writing
from .arguments import DataArguments
from .data import check_columns, hold_out_and_limit, select_splits
from .errors import exit_on_error
from .json_reader import as_value
from .readers import text_or_empty
from .squad import ROW_FORM, Answers, flatten_questions, rank_answers, read_answers, with_probabilities
from .tokenizing import length_options, map_options
from .trainer import LengthGroupedTrainer

ANSWERS = {"text": List(Value("string")), "answer_start": List(Value("int64"))}


@dataclass
class QaArguments(DataArguments):
    """How contexts are cut into windows, and which spans are answers."""

    max_seq_length: int = field(
        default=384,
        metadata={"help": "Tokens in a question and one window of its context.", "aliases": ["--max_length"]},
    )
    doc_stride: int = field(default=128, metadata={"help": "Tokens shared by two neighbouring windows of a context."})
    n_best_size: int = field(default=20, metadata={"help": "Number of answers to write for each question."})
    max_answer_length: int = field(default=30, metadata={"help": "Maximum number of tokens in an answer."})
    version_2_with_negative: bool = field(default=False, metadata={"help": "Some questions have no answer."})
    null_score_diff_threshold: float = field(
        default=0.0,
        metadata={"help": "Predict no answer if it scores higher than the best answer by more than this threshold."},
    )

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that are impossible."""
        super().__post_init__()
        for option, smallest in {"doc_stride": 0, "n_best_size": 1, "max_answer_length": 1}.items():
            if getattr(self, option) < smallest:
                raise ValueError(f"--{option} is {getattr(self, option)}, but should be {smallest} or more")


class InOrderTrainer(LengthGroupedTrainer):
    """Trainer that evaluates the rows in their order, because the windows of a context belong together."""

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Any:
        return range(len(eval_dataset))


def read_questions(
    raw: Mapping[str, Dataset], data_args: QaArguments, needed: set[str], seed: int
) -> dict[str, Dataset]:
    """Read questions, contexts and, except in rows to predict, answers.

    Args:
        raw: Rows with the columns of SQuAD, or with questions nested as in SQuAD's own files.
        data_args: How many rows to hold out and to keep.
        needed: The splits to return.
        seed: Seed of the choice of held-out rows.

    Returns:
        The needed splits with the columns `id`, `question`, `context` and `answers`.

    Raises:
        SystemExit: A split or a column is missing, or a row cannot be read.
    """
    flat = DatasetDict({split: _flatten(rows, split) for split, rows in raw.items()})
    splits = select_splits(flat, {split: split for split in ("train", "validation", "test")}, needed, "answers")
    read = {split: _read_split(rows, split) for split, rows in splits.items()}
    return hold_out_and_limit(read, data_args, needed, seed)


def _flatten(rows: Dataset, split: str) -> Dataset:
    if not {"data", "paragraphs"} & set(rows.column_names):
        return rows
    questions: list[dict[str, Any]] = []
    try:
        for question in flatten_questions(rows):
            questions.append(_read_question(question, len(questions), split))
    except (KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"Question {len(questions)} of the {split} data cannot be read: it should look like {ROW_FORM}, or be "
            "nested as in SQuAD's own files"
        ) from error
    return Dataset.from_list(questions, _features(split))


def _read_split(rows: Dataset, split: str) -> Dataset:
    check_columns(split, ["question", "context"], rows.column_names)
    options = {"with_indices": True, "remove_columns": rows.column_names, "features": _features(split)}
    read = partial(_read_question, split=split)
    with exit_on_error(f"The {split} data"):
        result = rows.map(read, desc=f"Reading {split} rows", **options)
    if len(set(result["id"])) < len(result):
        raise SystemExit(f"The {split} data has rows of the same id")
    return result


def _features(split: str) -> Features:
    texts = dict.fromkeys(("id", "question", "context"), Value("string"))
    # Rows to predict may have no answers.
    return Features(texts if split == "test" else {**texts, "answers": ANSWERS})


def _read_question(question: Mapping[str, Any], index: int, split: str) -> dict[str, Any]:
    name = str(index if question.get("id") is None else question["id"])
    row = f"Row {name} of the {split} data"
    with exit_on_error(row):
        texts = {column: text_or_empty(question[column]) for column in ("question", "context")}
    read = {"id": name, "question": texts["question"].strip(), "context": texts["context"]}
    if split == "test":
        return read
    return {**read, "answers": read_answers(as_value(question.get("answers")), read["context"], row)}


def training_texts(rows: Mapping[str, Dataset]) -> Iterable[str]:
    """Return the texts that a tokenizer is trained on."""
    return chain(*(rows["train"][name] for name in ("question", "context"))) if "train" in rows else ()


def cut_into_windows(
    rows: Mapping[str, Dataset],
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    data_args: QaArguments,
) -> dict[str, Dataset]:
    """Tokenize questions with their contexts; a context that is too long becomes several overlapping windows.

    Returns:
        The windows of each split: token ids, the index of their `row`, the `offsets` of their tokens in the context
        and, if the rows have answers, `start_positions` and `end_positions`.

    Raises:
        SystemExit: `doc_stride` leaves no room for new tokens of the context in a window.
    """
    options = length_options(tokenizer, config, data_args, is_training="train" in rows)
    options |= {
        "truncation": "only_second",
        "stride": data_args.doc_stride,
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
    }

    def encode(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        encoded = tokenizer(batch["question"], batch["context"], **options)
        samples = encoded["overflow_to_sample_mapping"]
        windows = {name: encoded[name] for name in tokenizer.model_input_names}
        windows["row"] = [indices[sample] for sample in samples]
        windows["offsets"] = [context_offsets(encoded, i) for i in range(len(samples))]
        if "answers" in batch:
            places = [answer_tokens(encoded, i, batch["answers"][sample]) for i, sample in enumerate(samples)]
            windows["start_positions"], windows["end_positions"] = map(list, zip(*places, strict=True))
        return windows

    for split, questions in rows.items():
        check_stride(questions, split, tokenizer, options["max_length"], data_args.doc_stride)
    return {
        split: questions.map(encode, with_indices=True, **map_options(questions, data_args))
        for split, questions in rows.items()
    }


def check_stride(
    rows: Dataset, split: str, tokenizer: PreTrainedTokenizerBase, max_length: int, doc_stride: int
) -> None:
    """Raise SystemExit unless every window has room for more tokens of the context than it shares with the last."""
    questions = tokenizer(rows["question"][:], add_special_tokens=False, verbose=False)["input_ids"]
    longest = max(map(len, questions), default=0) + tokenizer.num_special_tokens_to_add(pair=True)
    room = max_length - longest
    if room <= doc_stride:
        raise SystemExit(
            f"--doc_stride is {doc_stride}, but should be below {room}: only that many tokens of a context fit beside "
            f"the longest question of the {split} data"
        )


def context_offsets(encoded: BatchEncoding, window: int) -> list[tuple[int, int]]:
    """Return the characters of the context that each token covers, or -1 for tokens outside the context."""
    sides, offsets = encoded.sequence_ids(window), encoded["offset_mapping"][window]
    return [pair if side == 1 else (-1, -1) for side, pair in zip(sides, offsets, strict=True)]


def answer_tokens(encoded: BatchEncoding, window: int, answers: Answers) -> tuple[int, int]:
    """Return the first and the last token of the first answer, or (0, 0) if the window does not hold it."""
    if answers["text"]:
        place = answers["answer_start"][0]
        characters = (place, place + len(answers["text"][0]) - 1)
        first, last = (encoded.char_to_token(window, character, sequence_index=1) for character in characters)
        if first is not None and last is not None:
            return first, last
    return 0, 0


def stack_logits(logits: tuple[torch.Tensor, ...], labels: Any) -> torch.Tensor:
    """Return the logits of starts and ends, `(B, T, 2)`, without further outputs such as hidden states."""
    return torch.stack(logits[:2], dim=-1)


def write_answers(
    rows: Dataset, windows: Dataset, logits: np.ndarray, args: QaArguments, folder: Path, prefix: str
) -> list[str]:
    """Write the predicted answers, the n best of each question and, with SQuAD 2, the score differences of no answer.

    Args:
        rows: Questions and contexts.
        windows: The windows of the contexts.
        logits: Logits of each token as the start and as the end of the answer, `(N, T, 2)`.
        args: Which answers to consider.
        folder: Where the json files go.
        prefix: How their names start.

    Returns:
        The answer to each question, empty for no answer.
    """
    predictions, n_best, null_odds = {}, {}, {}
    ranked = rank_answers(rows, windows, logits, args.n_best_size, args.max_answer_length)
    for name, (answers, no_answer) in zip(rows["id"], ranked, strict=True):
        predictions[name] = answers[0].text if answers else ""
        n_best[name] = with_probabilities(answers)
        if args.version_2_with_negative:
            null_odds[name] = no_answer - answers[0].score if answers else 0.0
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
