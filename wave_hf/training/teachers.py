# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Teachers: trained classifiers whose logits a smaller network learns, and the texts that they label."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets.fingerprint import Hasher
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn
from tqdm.auto import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from wave_hf.training.errors import exit_on_error
from wave_hf.training.tasks import Task

# The values of TinyBERT (Jiao et al., arXiv:1909.10351), which takes the words from BERT's guesses and GloVe.
REWORDED_SHARE = 0.4
SIMILAR_WORDS = 15


@dataclass
class Inference:
    """How teachers compute: the tokens of a text that they read at most, the texts at a time, where and how."""

    max_length: int
    batch_size: int
    device: torch.device
    bf16: bool


class Teacher:
    """A trained classifier.

    Args:
        name: Its folder or Hub id.
        task: Its labels must be those of the teacher, in any order.
        inference: How it computes logits.
        seen: The texts it was trained on, of which it is too certain to teach much.
        **hub_options: What `from_pretrained` is given.

    Raises:
        SystemExit: It cannot be loaded, or has other labels or a tokenizer with more tokens than its table has rows.
    """

    def __init__(self, name: str, task: Task, inference: Inference, seen: Iterable[str] = (), **hub_options: Any):
        with exit_on_error(f"Teacher {name}"):
            self.tokenizer = AutoTokenizer.from_pretrained(name, **hub_options)
            self.model = AutoModelForSequenceClassification.from_pretrained(name, **hub_options)
        label_names = Task.of_config(self.model.config).label_names
        if set(label_names) != set(task.label_names):
            raise SystemExit(
                f"Teacher {name} knows the labels {', '.join(label_names)}, but the training data has "
                f"{', '.join(task.label_names)}"
            )
        rows = self.model.get_input_embeddings().num_embeddings
        if len(self.tokenizer) > rows:
            raise SystemExit(
                f"Teacher {name} has a tokenizer of {len(self.tokenizer)} tokens, but a token table of {rows} rows"
            )
        self.name = name
        self.columns = [label_names.index(label) for label in task.label_names]
        self.seen = frozenset(seen)
        self.inference = inference
        self.max_length = min(inference.max_length, self.tokenizer.model_max_length)
        # Before the first text, which changes the tokenizer's settings. A fast one also holds the name of its folder.
        tokenizer = self.tokenizer.backend_tokenizer.to_str() if self.tokenizer.is_fast else self.tokenizer
        self.fingerprint = Hasher.hash(
            [self.model.state_dict(), tokenizer, self.columns, self.max_length, inference.bf16]
        )

    def label(self, texts: Sequence[str], folder: Path) -> np.ndarray:
        """Return the logits of texts, `(N, num_labels)` in the task's order, from a file of `folder` if there is one.

        Raises:
            SystemExit: The file holds the logits of other texts or of another teacher.
        """
        made_by = {"teacher": self.fingerprint, "texts": Hasher.hash(texts)}
        file = folder / f"{made_by['teacher']}-{made_by['texts']}.safetensors"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(f".{os.getpid()}")
            save_file({"logits": self.compute_logits(texts)}, unfinished, metadata=made_by)
            unfinished.replace(file)
        with exit_on_error(f"Logits {file}"), safe_open(file, "numpy") as stored:
            if stored.metadata() != made_by:
                raise SystemExit(f"{file} holds the logits of other texts, or of another teacher: remove it")
            return stored.get_tensor("logits")

    @torch.inference_mode()
    def compute_logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the logits of texts, `(N, num_labels)` float32; those of like length are computed together."""
        device, size = self.inference.device, self.inference.batch_size
        model = self.model.to(device).eval()
        logits = np.empty((len(texts), len(self.columns)), dtype=np.float32)
        # The longest first, so that a lack of memory shows at once.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
        for start in tqdm(range(0, len(texts), size), desc="Teacher", mininterval=10):
            rows = order[start : start + size]
            batch = self.tokenizer(
                [texts[row] for row in rows],
                truncation=True,
                max_length=self.max_length,
                padding=True,
                return_tensors="pt",
            ).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.inference.bf16):
                logits[rows] = model(**batch).logits[:, self.columns].float().cpu()
        return logits

    @cached_property
    @torch.inference_mode()
    def similar_words(self) -> dict[str, list[str]]:
        """For each word that is a single token, those most similar by cosine in the token table, the nearest first."""
        # Behind a space, as within a text; what is no whole word comes back as other tokens.
        candidates = [str(self.tokenizer.decode([token])).strip() for token in range(len(self.tokenizer))]
        encoded = self.tokenizer([f" {word}" for word in candidates], add_special_tokens=False)["input_ids"]
        tokens = [
            token
            for token, (word, ids) in enumerate(zip(candidates, encoded, strict=True))
            if word.isalpha() and len(word) > 1 and ids == [token]
        ]
        words = [candidates[token] for token in tokens]
        vectors = nn.functional.normalize(self.model.get_input_embeddings().weight[tokens].float(), dim=1)
        count = min(SIMILAR_WORDS + 1, len(words))
        nearest = [row for part in vectors.split(1024) for row in (part @ vectors.T).topk(count).indices.tolist()]
        return {
            word: [words[other] for other in row if words[other] != word]
            for word, row in zip(words, nearest, strict=True)
        }


def assign_teachers(texts: Iterable[str], teachers: list[Teacher]) -> dict[tuple[int, ...], list[int]]:
    """Group rows by the teachers (their places in the list) that have not seen the text, or all if all have."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        unseen = tuple(i for i, teacher in enumerate(teachers) if text not in teacher.seen)
        groups[unseen or tuple(range(len(teachers)))].append(row)
    return groups


def mix_texts(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Make of each text a new one: a span of it, and a span of another drawn at random, whose shares add up to one.

    So a part of them are little more than crops of a text, and others halves of two.
    """
    partners, shares = rng.permutation(len(texts)), rng.random(len(texts))
    return [
        " ".join(draw_span(texts[row], share, rng) + draw_span(texts[partner], 1 - share, rng))
        for row, (partner, share) in enumerate(zip(partners, shares, strict=True))
    ]


def draw_span(text: str, share: float, rng: np.random.Generator) -> list[str]:
    """Return a share of the words of a text, as they follow each other from a place drawn at random."""
    words = text.split()
    length = round(share * len(words))
    start = rng.integers(len(words) - length + 1)
    return words[start : start + length]


def reword_texts(texts: Iterable[str], similar_words: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    """Put a similar word in place of each word that has some, with a probability of `REWORDED_SHARE`."""

    def reword(match: re.Match[str]) -> str:
        word = match[0]
        similar = similar_words.get(word) or similar_words.get(word.lower())
        return similar[rng.integers(len(similar))] if similar and rng.random() < REWORDED_SHARE else word

    return [re.sub(r"\w+", reword, text) for text in texts]
