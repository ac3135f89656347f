# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""What an encoder's student learns: the sentence vectors of its teachers, computed once and kept in shards."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets.fingerprint import Hasher
from sentence_transformers import SentenceTransformer
from torch import nn
from tqdm.auto import tqdm

from ..files import writing
from ..transplant import main_directions
from .errors import exit_on_error

SHARD_SIZE = 16384  # texts: few enough that a kill costs minutes at most, and enough to sort them by length


class EncoderTeacher:
    """An encoder whose sentence vectors a student learns.

    Args:
        name: Folder or Hub id of an encoder of sentence-transformers, or of transformers (the mean of its tokens).
        max_length: The most tokens that it reads of a text.
        batch_size: Texts that it reads at a time.
        bf16: Whether it computes in bfloat16 where autocast does.
        device: Where it computes; `None` chooses as sentence-transformers does.
        **options: More arguments of `SentenceTransformer`.

    Raises:
        SystemExit: It cannot be loaded, or has no tokenizer.
    """

    def __init__(
        self,
        name: str,
        max_length: int = 64,
        batch_size: int = 64,
        bf16: bool = False,
        device: str | torch.device | None = None,
        **options: Any,
    ):
        self.name, self.batch_size, self.bf16 = name, batch_size, bf16
        with exit_on_error(f"Teacher {name}"):
            self.model = SentenceTransformer(name, device=None if device is None else str(device), **options)
            self.model.max_seq_length = min(self.model.max_seq_length or max_length, max_length)
        tokenizer = self.model.tokenizer
        # Where there are no files of one, the library makes one that knows no words.
        if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
            raise SystemExit(f"Teacher {name} has no tokenizer: its files should lie beside the weights")
        # Before the first text, which changes the tokenizer's settings. A fast one also holds the name of its folder.
        rules = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else tokenizer
        weights = {name: tensor.cpu() for name, tensor in self.model.state_dict().items()}
        modules = [repr(module) for module in list(self.model)[1:]]
        self.fingerprint = Hasher.hash([weights, rules, modules, self.model.max_seq_length])

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the normalised vectors of texts, `(N, E)` float16; texts of like length are computed together."""
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16):
            vectors = self.model.encode(
                texts, batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False
            )
        return nn.functional.normalize(vectors.float(), dim=1).half().cpu().numpy()

    def store_targets(self, texts: Sequence[str], folder: Path) -> None:
        """Compute the vectors of the texts that a folder lacks.

        The folder holds `teacher.json`, which identifies the teacher, and shards of `SHARD_SIZE` texts. A shard
        appears when it is complete, so an interrupted run continues where it was; and texts that are appended to the
        old ones cost only their own shards.

        Raises:
            SystemExit: The folder holds the vectors of other texts or of another teacher.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "teacher.json").exists():
            with writing(folder / "teacher.json") as stream:
                json.dump({"name": Path(self.name).name, "fingerprint": self.fingerprint}, stream)
        check_teacher(folder, self.fingerprint)
        starts = range(0, len(texts), SHARD_SIZE)
        for number, start in enumerate(tqdm(starts, desc=f"Targets of {self.name}", unit="shard", mininterval=10)):
            part = list(texts[start : start + SHARD_SIZE])
            file = shard_file(folder, number, part)
            if not file.exists():
                unfinished = file.with_suffix(f".{os.getpid()}")
                with unfinished.open("wb") as stream:
                    np.save(stream, self.encode(part), allow_pickle=False)
                unfinished.replace(file)


def check_teacher(folder: Path, fingerprint: str) -> None:
    """Refuse a folder of another teacher's vectors."""
    with exit_on_error(f"Targets {folder}"):
        stored = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))
        if stored.get("fingerprint") != fingerprint:
            raise SystemExit(
                f"{folder} holds the vectors of another teacher, {stored.get('name')}, or of the same at another "
                "length: give another folder, or remove it"
            )


def shard_file(folder: Path, number: int, texts: list[str]) -> Path:
    """Return the file of a shard, and refuse a folder that has one of other texts under its number."""
    file = folder / f"{number:05d}-{Hasher.hash(texts)}.npy"
    others = [other for other in folder.glob(f"{number:05d}-*.npy") if other != file]
    if others:
        raise SystemExit(f"{others[0]} holds the vectors of other texts: give another folder, or remove it")
    return file


class StoredTargets:
    """The vectors that `EncoderTeacher.store_targets` stored for texts, read from disk where they are needed.

    Args:
        texts: The texts.
        folders: A folder for each teacher. The vectors of several are concatenated.

    Raises:
        SystemExit: A folder lacks vectors, or holds those of other texts.
    """

    def __init__(self, texts: Sequence[str], folders: Sequence[Path]):
        self.shards: list[list[np.ndarray]] = []
        for number, start in enumerate(range(0, len(texts), SHARD_SIZE)):
            part = list(texts[start : start + SHARD_SIZE])
            files = [shard_file(folder, number, part) for folder in folders]
            self.shards.append([load_shard(file, len(part)) for file in files])
        self.length = len(texts)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor:
        """Return the vectors of rows `(N,)`: `(N, E)` float32, of length 1."""
        parts = [self.shards[row // SHARD_SIZE] for row in rows]
        places = rows % SHARD_SIZE
        vectors = [np.concatenate([shard[i] for shard in part]) for part, i in zip(parts, places, strict=True)]
        return nn.functional.normalize(torch.from_numpy(np.stack(vectors)).float(), dim=1)


def load_shard(file: Path, size: int) -> np.ndarray:
    """Return the vectors of a shard `(size, E)`, which stay on disk until they are read."""
    with exit_on_error(f"Targets {file}"):
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
        if vectors.shape[0] != size:
            raise SystemExit(f"{file} holds {vectors.shape[0]} vectors instead of {size}: remove it")
        return vectors


def principal_components(vectors: torch.Tensor, width: int) -> torch.Tensor:
    """Return the directions in which vectors `(N, E)` vary most, `(E, width)`, the first one most.

    Raises:
        SystemExit: `width` exceeds E.
    """
    if width > vectors.shape[1]:
        raise SystemExit(
            f"The student is {width} wide (hidden_size), but the teachers' vectors have only {vectors.shape[1]} "
            "dimensions: choose a narrower config, or add a teacher"
        )
    return main_directions(vectors - vectors.mean(dim=0), width)
