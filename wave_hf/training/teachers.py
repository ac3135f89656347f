# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Teachers: trained classifiers whose logits a smaller network learns, and the texts made for them to label."""

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
from transformers import AutoModelForSequenceClassification

from ..tokenization import check_tokenizer_fits, load_saved_tokenizer
from .errors import exit_on_error
from .tasks import Task

# The values of TinyBERT (Jiao et al., arXiv:1909.10351), which finds similar words by BERT's predictions and GloVe.
REWORDED_SHARE = 0.4
SIMILAR_WORDS = 15


@dataclass
class Inference:
    """How teachers compute logits: the maximum number of tokens, the texts in a batch, the device and the dtype."""

    max_length: int
    batch_size: int
    device: torch.device
    bf16: bool


class Teacher:
    """A trained classifier.

    Args:
        name: Its folder or Hub id.
        task: The task, whose labels must be those of the teacher, in any order.
        inference: How the teacher computes logits.
        seen: The texts that it was trained on. Its logits there are overconfident.
        **hub_options: Options of `from_pretrained`.

    Raises:
        SystemExit: The teacher cannot be loaded, or has other labels, or its tokenizer has more tokens than its token
            table has rows.
    """

    def __init__(self, name: str, task: Task, inference: Inference, seen: Iterable[str] = (), **hub_options: Any):
        with exit_on_error(f"Teacher {name}"):
            self.tokenizer = load_saved_tokenizer(name, **hub_options)
            self.model = AutoModelForSequenceClassification.from_pretrained(name, **hub_options)
            check_tokenizer_fits(self.tokenizer, self.model.config, "the model")
        label_names = Task.of_config(self.model.config).label_names
        if set(label_names) != set(task.label_names):
            raise SystemExit(
                f"Teacher {name} knows the labels {', '.join(label_names)}, but the training data has "
                f"{', '.join(task.label_names)}"
            )
        self.name = name
        self.columns = [label_names.index(label) for label in task.label_names]
        self.seen = frozenset(seen)
        self.inference = inference
        self.max_length = min(inference.max_length, self.tokenizer.model_max_length)
        # Hashed before the first text, which changes the settings of the tokenizer. Of a fast tokenizer only the
        # backend is hashed, because the rest holds the name of its folder.
        tokenizer = self.tokenizer.backend_tokenizer.to_str() if self.tokenizer.is_fast else self.tokenizer
        self.fingerprint = Hasher.hash(
            [self.model.state_dict(), tokenizer, self.columns, self.max_length, inference.bf16]
        )

    def label(self, texts: Sequence[str], folder: Path) -> np.ndarray:
        """Return the logits of texts from the cache in `folder`, and compute them if they are not there.

        Args:
            texts: The texts.
            folder: Folder of a file for each teacher and list of texts.

        Returns:
            Logits `(N, num_labels)`, float32, with the labels in the order of the task.

        Raises:
            SystemExit: The file is damaged, or holds the logits of other texts or of another teacher.
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
        """Return the logits of texts, `(N, num_labels)` float32, computed in batches of similar length.

        Raises:
            SystemExit: A logit is not finite.
        """
        device, size = self.inference.device, self.inference.batch_size
        model = self.model.to(device).eval()
        logits = np.empty((len(texts), len(self.columns)), dtype=np.float32)
        # The longest first, so that a lack of memory shows in the first batch.
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
                logits[rows] = model(**batch, return_dict=True).logits[:, self.columns].float().cpu()
        if not np.isfinite(logits).all():
            raise SystemExit(f"Teacher {self.name} returns logits that are not finite")
        return logits

    @cached_property
    @torch.inference_mode()
    def similar_words(self) -> dict[str, list[str]]:
        """The most similar words of each word that is one token, by cosine in the token table, the nearest first."""
        # A token is a whole word if it comes back from its text, after a space as within a sentence.
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
    """Group rows by the teachers that were not trained on their texts, or all teachers if all of them were.

    Args:
        texts: The text of each row.
        teachers: The teachers.

    Returns:
        The indices of rows by the indices of their teachers.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        unseen = tuple(i for i, teacher in enumerate(teachers) if text not in teacher.seen)
        groups[unseen or tuple(range(len(teachers)))].append(row)
    return groups


def mix_texts(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Make a new text from each text: a span of it and a span of a random other text.

    The spans are random shares of their texts that add up to one, from crops of one text to halves of two.
    """
    partners, shares = rng.permutation(len(texts)), rng.random(len(texts))
    return [
        " ".join(draw_span(texts[row], share, rng) + draw_span(texts[partner], 1 - share, rng))
        for row, (partner, share) in enumerate(zip(partners, shares, strict=True))
    ]


def draw_span(text: str, share: float, rng: np.random.Generator) -> list[str]:
    """Return a random span of the words of a text, whose length is a share of all words."""
    words = text.split()
    length = round(share * len(words))
    start = rng.integers(len(words) - length + 1)
    return words[start : start + length]


def reword_texts(texts: Iterable[str], similar_words: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    """Replace words by a random similar word, each with a probability of `REWORDED_SHARE`."""

    def reword(match: re.Match[str]) -> str:
        word = match[0]
        similar = similar_words.get(word) or similar_words.get(word.lower())
        return similar[rng.integers(len(similar))] if similar and rng.random() < REWORDED_SHARE else word

    return [re.sub(r"\w+", reword, text) for text in texts]
