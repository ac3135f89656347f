# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""A folded Wave Network: a text classifier at the price of one table look-up a token.

    from folded_wave import FoldedWave

    model = FoldedWave.load("waves-folded")
    model.predict(["Stocks fell on Monday.", "The cup final was decided on penalties."])

This file lies in every folded folder and needs nothing but numpy, safetensors and tokenizers; numba makes it about
ten times as fast, and tokie speeds up tokenizing. From a shell, it labels the lines of its input:
`python waves-folded/folded_wave.py < texts.txt`. `wave_hf.folding` writes such folders.

In a one-layer Wave Network (Zhang & Sheng, arXiv:2411.02674), all that comes before the waves is linear in a token's
row of the embedding table, so a table of the variants, one row a token, replaces it. All that comes after the waves
is linear up to the pooling, so it is applied once to the mean over the tokens. Two passes over a text remain:

    G_h^2 = sum_j v_jh^2                        v_j = (a_j, c_j), the two variants of token j: its row of the table
    mean_j (a_j + i sqrt(G^2 - a_j^2)) (c_j + i sqrt(G'^2 - c_j^2))
"""

import hashlib
import json
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

MODEL_TYPE = "folded_wave"
FORMAT_VERSION = 1

TEXTS_PER_BLOCK = 2048
CHARACTERS_PER_BLOCK = 2**20

# Rows whose sum is added to a total in float64, so that long texts stay exact in float32.
WINDOW = 256
ZERO, ONE = np.float32(0), np.float32(1)

# Numba needs half a second to start, and ten to compile for the first time: about what NumPy takes for so many tokens.
TOKENS_BEFORE_NUMBA = 100_000

Text = str | tuple[str, str]


# The waves. A row has D columns: the 2H of both variants, then those of the residual, if there is one.


def add_energies(total, part, rows, scales, ids, counts):
    """Add v^2 of the rows `ids`, `counts` times each, to `total` `(D,)`, float64; `part` is for its parts."""
    for first in range(0, len(ids), WINDOW):
        window = ids[first : first + WINDOW]
        v = scales[window, None] * rows[window]
        total += np.matmul(counts[first : first + WINDOW], v * v, out=part)


def add_waves(total, part, rows, scales, ids, counts, energy, wave_scales, is_modulation, is_magnitude):
    """Add the combined waves of the rows `ids`, `counts` times each, to `total`: real, imaginary, residual."""
    width = len(energy) // 2
    for first in range(0, len(ids), WINDOW):
        window = ids[first : first + WINDOW]
        v = scales[window, None] * rows[window]
        real, residual = v[:, : 2 * width], v[:, 2 * width :]
        imag = np.sqrt(np.maximum(energy - real * real, ZERO))
        if not is_modulation:
            real, imag = real * wave_scales, imag * wave_scales
        a, c, b, d = real[:, :width], real[:, width:], imag[:, :width], imag[:, width:]
        x, y = (a * c - b * d, a * d + b * c) if is_modulation else (a + c, b + d)
        if is_magnitude:
            x = np.sqrt(x * x + y * y)
        waves = np.concatenate((x, y, residual), axis=1)
        total += np.matmul(counts[first : first + WINDOW], waves, out=part)


def mix_rows(mixed, first, ids, types, table, scales, type_rows, kernel):
    """Write the rows of the tokens from `first` on, with types and neighbours mixed in, to `mixed` `(size, D)`."""
    radius = len(kernel) // 2
    mixed[:] = ZERO
    for tap, weights in enumerate(kernel):
        start = first + tap - radius
        j = np.arange(max(start, 0), min(start + len(mixed), len(ids)))
        mixed[j - start] += weights * (scales[ids[j], None] * table[ids[j]] + type_rows[types[j]])


def count_distinct(ids, distinct, counts, seen_in, place, text):
    """Write the distinct ids of a text and how often each occurs; return how many there are."""
    own, own_counts = np.unique(ids, return_counts=True)
    distinct[: len(own)], counts[: len(own)] = own, own_counts
    return len(own)


def set_energy(energy, wave_scales, total, length, is_scaled):
    """Write G^2 of both variants and, if the waves are scaled, sqrt(n) / G."""
    energy[:] = total[: len(energy)]
    if is_scaled:
        wave_scales[:] = np.sqrt(length / np.where(energy > ZERO, energy, ONE))
    total[:] = 0.0


def set_mean(mean, total, length, wave_scales, is_modulation, is_scaled):
    """Write the mean over the tokens; a product of waves is scaled only now."""
    np.multiply(total, 1 / max(length, 1), mean)
    if is_modulation and is_scaled:
        width = len(wave_scales) // 2
        scales = wave_scales[:width] * wave_scales[width:]
        mean[:width] *= scales
        mean[width : 2 * width] *= scales
    total[:] = 0.0


def pool_bags(means, ids, starts, lengths, table, scales, width, is_modulation, is_magnitude, is_scaled):
    """Write the mean of the combined waves of each text; a token that occurs again is not computed again.

    Args:
        means: The result, `(B, D)`: real part, imaginary part, residual; zeros for a text without tokens. Its dtype,
            float32 or float64, is the one that waves are computed in.
        ids: The tokens of all texts, `(N,)`, uint32.
        starts: Where each text starts in `ids`, `(B,)`, int64.
        lengths: The number of its tokens, `(B,)`, int64.
        table: `(V, D)`, float32 or int8.
        scales: What each row of the table is multiplied by, `(V,)`, float32.
        width: H.
        is_modulation: Whether the waves are multiplied; else they are added.
        is_magnitude: Whether the magnitude takes the place of the real part.
        is_scaled: Whether each dimension of a text is divided by its root mean square.
    """
    total, part = np.zeros(table.shape[1]), np.empty(table.shape[1], means.dtype)
    energy, wave_scales = np.empty(2 * width, means.dtype), np.ones(2 * width, means.dtype)
    distinct, counts = np.empty(len(table), np.uint32), np.empty(len(table), np.float32)
    seen_in, place = np.full(len(table), -1, np.int32), np.empty(len(table), np.int32)
    for text in range(len(starts)):
        length = lengths[text]
        size = count_distinct(ids[starts[text] : starts[text] + length], distinct, counts, seen_in, place, text)
        rows = table, scales, distinct[:size], counts[:size]
        add_energies(total, part, *rows)
        set_energy(energy, wave_scales, total, length, is_scaled)
        add_waves(total, part, *rows, energy, wave_scales, is_modulation, is_magnitude)
        set_mean(means[text], total, length, wave_scales, is_modulation, is_scaled)


def pool_sequences(
    means, ids, types, starts, lengths, table, scales, type_rows, kernel, width, is_modulation, is_magnitude, is_scaled
):
    """Do what `pool_bags` does for texts in which the neighbours of a token matter, or its type.

    Args:
        means: See `pool_bags`, as for all that is not described here.
        ids: `(N,)`.
        types: The types of the tokens, `(N,)`, uint8.
        starts: `(B,)`.
        lengths: `(B,)`.
        table: `(V, D)`.
        scales: `(V,)`.
        type_rows: What the type of a token adds to its row, `(S, D)`, float32.
        kernel: What the rows of the token and its neighbours are multiplied by before they are added, `(K, D)`,
            float32, K odd.
        width: H.
        is_modulation: bool.
        is_magnitude: bool.
        is_scaled: bool.
    """
    total, part = np.zeros(table.shape[1]), np.empty(table.shape[1], means.dtype)
    energy, wave_scales = np.empty(2 * width, means.dtype), np.ones(2 * width, means.dtype)
    mixed = np.empty((WINDOW, table.shape[1]), np.float32)
    ones, every = np.ones(WINDOW, np.float32), np.arange(WINDOW).astype(np.uint32)
    for text in range(len(starts)):
        start, length = starts[text], lengths[text]
        own = ids[start : start + length], types[start : start + length], table, scales, type_rows, kernel
        for first in range(0, length, WINDOW):
            size = min(WINDOW, length - first)
            mix_rows(mixed[:size], first, *own)
            add_energies(total, part, mixed, ones, every[:size], ones[:size])
        set_energy(energy, wave_scales, total, length, is_scaled)
        for first in range(0, length, WINDOW):
            size = min(WINDOW, length - first)
            if length > WINDOW:  # else they are there
                mix_rows(mixed[:size], first, *own)
            rows = mixed, ones, every[:size], ones[:size]
            add_waves(total, part, *rows, energy, wave_scales, is_modulation, is_magnitude)
        set_mean(means[text], total, length, wave_scales, is_modulation, is_scaled)


# The same in the loops that numba makes the best machine code of.


def add_energies_in_loops(total, part, rows, scales, ids, counts):
    """Do what `add_energies` does."""
    for first in range(0, len(ids), WINDOW):
        part[:] = ZERO
        for item in range(first, min(first + WINDOW, len(ids))):
            row, scale, count = rows[ids[item]], scales[ids[item]], counts[item]
            for h in range(len(part)):
                v = scale * np.float32(row[h])
                part[h] += count * (v * v)
        total += part


def add_waves_in_loops(total, part, rows, scales, ids, counts, energy, wave_scales, is_modulation, is_magnitude):
    """Do what `add_waves` does."""
    width = len(energy) // 2
    real, imag, residual = part[:width], part[width : 2 * width], part[2 * width :]
    first_energy, second_energy = energy[:width], energy[width:]
    first_scales, second_scales = wave_scales[:width], wave_scales[width:]
    for first in range(0, len(ids), WINDOW):
        part[:] = ZERO
        for item in range(first, min(first + WINDOW, len(ids))):
            row, scale, count = rows[ids[item]], scales[ids[item]], counts[item]
            first_variant, second_variant, rest = row[:width], row[width : 2 * width], row[2 * width :]
            for h in range(width):
                a, c = scale * np.float32(first_variant[h]), scale * np.float32(second_variant[h])
                b, d = imaginary_part(a, first_energy[h]), imaginary_part(c, second_energy[h])
                if is_modulation:
                    x, y = a * c - b * d, a * d + b * c
                else:
                    x = first_scales[h] * a + second_scales[h] * c
                    y = first_scales[h] * b + second_scales[h] * d
                if is_magnitude:
                    x = np.sqrt(x * x + y * y)
                real[h] += count * x
                imag[h] += count * y
            for h in range(len(rest)):
                residual[h] += count * (scale * np.float32(rest[h]))
        total += part


def imaginary_part(real, energy):
    """Return sqrt(G^2 - a^2); what rounding put below 0 counts as 0."""
    difference = energy - real * real
    return np.sqrt(difference if difference > ZERO else ZERO)


def mix_rows_in_loops(mixed, first, ids, types, table, scales, type_rows, kernel):
    """Do what `mix_rows` does."""
    radius = len(kernel) // 2
    for item in range(len(mixed)):
        row = mixed[item]
        row[:] = ZERO
        for tap in range(len(kernel)):
            j = first + item + tap - radius
            if 0 <= j < len(ids):
                weights, token_row, scale, type_row = kernel[tap], table[ids[j]], scales[ids[j]], type_rows[types[j]]
                for h in range(len(row)):
                    row[h] += weights[h] * (scale * np.float32(token_row[h]) + type_row[h])


def count_distinct_in_loops(ids, distinct, counts, seen_in, place, text):
    """Do what `count_distinct` does."""
    size = 0
    for token in ids:
        if seen_in[token] != text:
            seen_in[token], place[token] = text, size
            distinct[size], counts[size] = token, 1
            size += 1
        else:
            counts[place[token]] += 1
    return size


class Kernels:
    """`pool_bags` and `pool_sequences`: in NumPy at first, then as machine code, if numba is installed."""

    def __init__(self):
        self.lock = Lock()
        self.tokens = 0
        self.functions = pool_bags, pool_sequences
        self.is_compiled = False

    def choose(self, tokens: int) -> tuple[Callable, Callable]:
        """Return the two functions to pool so many tokens with."""
        self.tokens += tokens
        if self.tokens > TOKENS_BEFORE_NUMBA:
            self.compile()
        return self.functions

    def compile(self) -> None:
        """Let numba take over."""
        with self.lock:
            if not self.is_compiled:
                self.functions = compile_with_numba()
                self.is_compiled = True


KERNELS = Kernels()


def compile_with_numba() -> tuple[Callable, Callable]:
    """Return `pool_bags` and `pool_sequences` compiled; without numba, as they are."""
    try:
        from numba import njit
        from numba.extending import overload
    except ImportError:
        return pool_bags, pool_sequences
    options: Any = {"error_model": "numpy"}

    def replace(function: Callable, loops: Callable) -> None:
        overload(function, options, strict=False)(lambda *_: loops)

    replace(add_energies, add_energies_in_loops)
    replace(add_waves, add_waves_in_loops)
    replace(mix_rows, mix_rows_in_loops)
    replace(count_distinct, count_distinct_in_loops)
    for function in (imaginary_part, set_energy, set_mean):
        replace(function, function)
    try:
        compiled = njit(nogil=True, cache=True, **options)
        return compiled(pool_bags), compiled(pool_sequences)
    except RuntimeError:  # neither this folder nor the user's cache can keep the machine code
        compiled = njit(nogil=True, **options)
        return compiled(pool_bags), compiled(pool_sequences)


# The tokens


class Tokens(NamedTuple):
    """The tokens of B texts.

    Args:
        ids: `(N,)`, uint32.
        types: 1 for the tokens of the second text of a pair, `(N,)`, uint8.
        starts: Where each text starts, `(B,)`, int64.
        lengths: The number of its tokens, `(B,)`, int64.
    """

    ids: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def in_order(cls, ids: np.ndarray, types: np.ndarray, lengths: np.ndarray) -> "Tokens":
        """Return the tokens of texts that stand one after the other."""
        return cls(ids, types, lengths.cumsum() - lengths, lengths)

    def side(self, is_own: np.ndarray) -> "Tokens":
        """Return the tokens for which `is_own` `(N,)`, bool, is true; a text without any becomes empty."""
        before = np.concatenate(([0], is_own.cumsum()))
        starts, stops = before[self.starts], before[self.starts + self.lengths]
        return Tokens(self.ids[is_own], self.types[is_own], starts, stops - starts)


class TextTokenizer:
    """Turns texts and pairs of texts into tokens, always those that tokenizers makes.

    tokie is about twenty times as fast, but treats some characters differently. A text goes to tokie if the two agree
    on all of its characters. tokie is not used at all if other versions are installed than those that were compared,
    or once the two disagree on one of the first texts.

    Args:
        tokenizer_json: The content of tokenizer.json.
        compared_versions: The versions of `tokie` and `tokenizers` that were compared; `None` means that tokie is not
            to be used.
        agreeing_characters: Whether the two agree on a character, by its code point, `(C,)`, bool.
    """

    CHECKED_TEXTS = 100

    def __init__(
        self,
        tokenizer_json: str,
        compared_versions: dict[str, str] | None = None,
        agreeing_characters: np.ndarray | None = None,
    ):
        self.json = tokenizer_json
        self.compared_versions = compared_versions
        self.agreeing_characters = np.zeros(0, bool) if agreeing_characters is None else agreeing_characters
        self.tokenizer = Tokenizer.from_str(tokenizer_json)
        self.tokenizer.no_padding()
        self.tokie: Any = None
        self.unchecked = self.CHECKED_TEXTS
        self.disagreeing_ascii = [chr(code) for code in np.flatnonzero(~self.agreeing_characters[:128])]
        if compared_versions is not None and has_versions(compared_versions):
            self.tokie = open_tokie(self.tokenizer)
        self.uses_tokie = self.tokie is not None

    def __call__(self, texts: Sequence[Text]) -> Tokens:
        """Return the tokens of texts and pairs."""
        if not self.uses_tokie:
            return self.encode(texts)
        agrees = np.array([isinstance(text, str) and self.agree_on(text) for text in texts])
        if agrees.all():
            return self.encode_quickly(texts)
        quick = self.encode_quickly([text for text, is_agreed in zip(texts, agrees, strict=True) if is_agreed])
        other = self.encode([text for text, is_agreed in zip(texts, agrees, strict=True) if not is_agreed])
        starts, lengths = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
        starts[agrees], starts[~agrees] = quick.starts, other.starts + len(quick.ids)
        lengths[agrees], lengths[~agrees] = quick.lengths, other.lengths
        ids, types = np.concatenate((quick.ids, other.ids)), np.concatenate((quick.types, other.types))
        return Tokens(ids, types, starts, lengths)

    def agree_on(self, text: str) -> bool:
        """Return whether tokie and tokenizers agree on all characters of a text."""
        if text.isascii():
            return all(character not in text for character in self.disagreeing_ascii)
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        return bool(codes.max() < len(self.agreeing_characters) and self.agreeing_characters[codes].all())

    def encode(self, texts: Sequence[Text]) -> Tokens:
        """Return the tokens that tokenizers makes."""
        encodings = self.tokenizer.encode_batch_fast(texts)
        lengths = np.array([len(encoding) for encoding in encodings], np.int64)
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), np.uint32, lengths.sum())
        types = np.fromiter(chain.from_iterable(encoding.type_ids for encoding in encodings), np.uint8, len(ids))
        return Tokens.in_order(ids, types, lengths)

    def encode_quickly(self, texts: Sequence[Any]) -> Tokens:
        """Return the tokens that tokie makes, unless those of the first texts differ from what tokenizers makes."""
        tokens = self.encode_with_tokie(texts)
        if self.unchecked > 0:
            first = self.encode(texts[: self.unchecked])
            self.unchecked -= len(first.lengths)
            found = tokens.lengths[: len(first.lengths)], tokens.ids[: len(first.ids)]
            if not (np.array_equal(first.lengths, found[0]) and np.array_equal(first.ids, found[1])):
                logger.warning("tokie is not used, since it and tokenizers disagree on one of the first texts.")
                self.uses_tokie = False
                return self.encode(texts)
        return tokens

    def encode_with_tokie(self, texts: Sequence[Any]) -> Tokens:
        """Return the tokens that tokie makes."""
        ids, lengths = self.tokie.encode_batch_flat(texts)
        return Tokens.in_order(ids, np.zeros(len(ids), np.uint8), lengths.astype(np.int64))


def has_versions(wanted: dict[str, str]) -> bool:
    """Return whether these versions of libraries are installed; log it if there are others."""
    try:
        installed = {library: version(library) for library in wanted}
    except PackageNotFoundError:
        return False
    if installed != wanted:
        logger.warning(
            "tokie is not used: it was compared with tokenizers as %s, but %s are installed. Fold the model again to "
            "compare these.",
            wanted,
            installed,
        )
    return installed == wanted


def open_tokie(tokenizer: Tokenizer) -> Any:
    """Return tokie's form of a tokenizer; `None` without tokie, or if it cannot read the tokenizer."""
    try:
        import tokie
    except ImportError:
        return None
    with TemporaryDirectory() as folder:
        file = Path(folder, "tokenizer.json")
        tokenizer.save(str(file))
        try:
            opened = tokie.Tokenizer.from_json(str(file))
        except tokie.TokieError as error:
            logger.warning("tokie is not used, since it cannot read the tokenizer: %s", error)
            return None
    if tokenizer.truncation:  # which tokie does not read from the file
        opened.enable_truncation(**tokenizer.truncation)
    return opened


# The model


class FoldedWave:
    """A Wave Network of one layer that labels texts of any length, or pairs of them, without torch.

    A pair is a tuple of two texts. Texts are truncated only if tokenizer.json has a truncation. Each method takes any
    iterable and reads it block by block, and any number of threads may call the methods at once.

    Args:
        config: The content of config.json.
        weights: The tensors of model.safetensors, by name.
        tokenizer: What turns texts into tokens.
        num_threads: How many threads work on the blocks of texts.

    Raises:
        ValueError: The tensors do not fit the config, one another, or the tokenizer.
    """

    def __init__(
        self, config: dict[str, Any], weights: dict[str, np.ndarray], tokenizer: TextTokenizer, num_threads: int = 1
    ):
        check_shapes(config, weights)
        self.config = config
        self.weights = weights | {"table": float32_unless_int8(weights["table"])}
        self.tokenizer = tokenizer
        self.num_threads = num_threads
        rows, columns = weights["table"].shape
        self.table_scales = weights.get("table_scales", np.ones(rows, np.float32))
        self.type_rows = weights.get("type_rows", np.zeros((1, columns), np.float32))
        self.kernel = weights.get("kernel", np.ones((1, columns), np.float32))
        size = tokenizer.tokenizer.get_vocab_size()
        if size > rows:
            raise ValueError(
                f"The tokenizer has {size} tokens, but the table only {rows} rows: they belong to different models."
            )

    @classmethod
    def load(cls, folder: str | Path, num_threads: int = 1) -> "FoldedWave":
        """Load a folder that `wave_hf.folding` wrote.

        Args:
            folder: Its path.
            num_threads: See the class.

        Raises:
            FileNotFoundError: The folder lacks a file.
            ValueError: The folder is damaged, or does not hold a folded model.
        """
        if not Path(folder, "SHA256SUMS").is_file():
            raise FileNotFoundError(f"{folder} has no SHA256SUMS: give a folder that wave_hf.folding wrote.")
        config = json.loads(read_file(folder, "config.json"))
        model_type, format_version = config.get("model_type"), config.get("format_version")
        if (model_type, format_version) != (MODEL_TYPE, FORMAT_VERSION):
            raise ValueError(
                f"{folder}/config.json has the model_type {model_type!r} and the format_version {format_version}, but "
                f"should have {MODEL_TYPE!r} and {FORMAT_VERSION}: give a folder that wave_hf.folding wrote."
            )
        weights = safetensors.numpy.load(read_file(folder, "model.safetensors"))
        characters = weights.pop("agreeing_characters", None)
        if characters is not None:
            characters = np.unpackbits(characters).astype(bool)
        tokenizer_json = read_file(folder, "tokenizer.json").decode()
        tokenizer = TextTokenizer(tokenizer_json, config.get("compared_versions"), characters)
        return cls(config, weights, tokenizer, num_threads)

    def compile(self) -> None:
        """Let numba take over now, instead of after the first 100,000 tokens: a server can do so before it serves.

        Compiling takes some ten seconds, but loading what another process has compiled only half a second.
        """
        KERNELS.compile()
        self.embed(["a"])
        if "type_rows" in self.weights:
            self.embed([("a", "b")])

    def predict(self, texts: Iterable[Text]) -> list[Any]:
        """Return the label of each text, or the list of its labels (`multi_label_classification`), or its number.

        Args:
            texts: Strings, or tuples of two strings.

        Raises:
            TypeError: One of the texts is neither.
            ValueError: The model has no classifier, a text is not Unicode, or its logits are not finite.
        """
        return list(self.predict_stream(texts))

    def predict_stream(self, texts: Iterable[Text]) -> Iterator[Any]:
        """Yield what `predict` returns, in memory that does not grow with the number of texts."""
        problem = self.config["problem_type"]
        labels = [self.config["id2label"][str(label)] for label in range(len(self.config["id2label"]))]
        for logits in self.map_blocks(self.classify, texts):
            if problem == "single_label_classification":
                yield from (labels[label] for label in logits.argmax(axis=1).tolist())
            elif problem == "multi_label_classification":
                yield from ([labels[label] for label in np.flatnonzero(row > 0)] for row in logits)
            else:
                yield from (logits if logits.shape[1] > 1 else logits[:, 0]).tolist()

    def predict_proba(self, texts: Iterable[Text]) -> np.ndarray:
        """Return the probability of each label, `(B, num_labels)`, float32; see `predict`."""
        if self.config["problem_type"] == "regression":
            raise ValueError("predict_proba needs a model with labels, but this is a regression: use predict.")
        logits = self.logits(texts)
        if self.config["problem_type"] == "multi_label_classification":
            return (1 + np.tanh(logits / 2)) / 2
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def logits(self, texts: Iterable[Text]) -> np.ndarray:
        """Return the logits, `(B, num_labels)`, float32; see `predict`."""
        none = np.empty((0, len(self.config["id2label"])), np.float32)
        return np.concatenate([none, *self.map_blocks(self.classify, texts)])

    def encode(self, texts: Iterable[Text]) -> np.ndarray:
        """Return the `pooler_output` of the network, `(B, H)`, float32; see `predict`."""
        none = np.empty((0, self.config["hidden_size"]), np.float32)
        return np.concatenate([none, *self.map_blocks(self.embed, texts)])

    def classify(self, texts: list[Text]) -> np.ndarray:
        """Return the logits of one block of texts, `(B, num_labels)`."""
        return self.classify_tokens(self.tokenizer(texts))

    def classify_tokens(self, tokens: Tokens) -> np.ndarray:
        """Return the logits of texts that are tokens already, `(B, num_labels)`, float32."""
        if "classifier.weight" not in self.weights:
            raise ValueError("This model has no classifier: use encode.")
        if self.config["pair_encoding"] == "separate":
            first, second = self.pool(tokens.side(tokens.types != 1)), self.pool(tokens.side(tokens.types == 1))
            features = np.concatenate((first * second, abs(first - second)), axis=1)
        else:
            features = self.pool(tokens)
        logits = features @ self.weights["classifier.weight"].T + self.weights["classifier.bias"]
        if not np.isfinite(logits).all():
            raise ValueError("The logits of a text are not finite: the weights are damaged, or too large.")
        return logits

    def embed(self, texts: list[Text]) -> np.ndarray:
        """Return the vectors of one block of texts, `(B, H)`."""
        return self.pool(self.tokenizer(texts))

    def pool(self, tokens: Tokens) -> np.ndarray:
        """Return the normalised mean of each text, `(B, H)`, float32; zeros for a text without tokens."""
        ids, types, starts, lengths = tokens
        config, weights = self.config, self.weights
        table, type_rows = weights["table"], self.type_rows
        if "type_rows" not in weights:
            types = np.zeros_like(types)
        if ids.max(initial=0) >= len(table) or types.max(initial=0) >= len(type_rows):
            raise ValueError(
                f"A text has the token id {ids.max()} or token type {types.max()}, but there are {len(table)} ids "
                f"and {len(type_rows)} types: the tokenizer belongs to another model."
            )
        is_modulation, is_magnitude = config["wave_operation"] == "modulation", config["readout"] == "magnitude"
        form = config["hidden_size"], is_modulation, is_magnitude, config["scale_waves"]
        # Scaled waves are nearly the same for all tokens of a long text. Unless a linear map follows, they are nearly
        # the same in all dimensions, and the norm removes what they share: float64 keeps enough digits of the rest.
        is_delicate = config["scale_waves"] and config["readout"] != "cartesian"
        means = np.empty((len(starts), table.shape[1]), np.float64 if is_delicate else np.float32)
        bags, sequences = KERNELS.choose(len(ids))
        if types.any() or "kernel" in weights:
            rows = table, self.table_scales, type_rows, self.kernel
            sequences(means, ids, types, starts, lengths, *rows, *form)
        else:
            bags(means, ids, starts, lengths, table, self.table_scales, *form)
        pooled = means @ weights["readout.weight"].T + weights["readout.bias"]
        # A layer normalisation: what would subtract the mean over the H dimensions is part of the readout.
        variance = np.einsum("bh,bh->b", pooled, pooled)[:, None] / pooled.shape[1]
        pooled *= weights["norm.weight"] / np.sqrt(variance + config["layer_norm_eps"])
        pooled += weights["norm.bias"]
        pooled[lengths == 0] = 0
        return pooled.astype(np.float32, copy=False)

    def map_blocks(self, function: Callable[[list[Text]], np.ndarray], texts: Iterable[Text]) -> Iterator[np.ndarray]:
        """Yield what a function returns for each block of texts; threads work on a few blocks ahead."""
        if self.num_threads == 1:
            yield from map(function, blocks(texts))
            return
        with ThreadPoolExecutor(self.num_threads) as pool:
            pending: deque = deque()
            for block in blocks(texts):
                pending.append(pool.submit(function, block))
                if len(pending) > 2 * self.num_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()


def float32_unless_int8(table: np.ndarray) -> np.ndarray:
    """Return the table in the form that is computed with."""
    return table if table.dtype == np.int8 else table.astype(np.float32, copy=False)


def blocks(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Yield lists of `TEXTS_PER_BLOCK` texts, or of fewer if they are long; see `check_text` for errors."""
    if isinstance(texts, str):
        raise TypeError("texts is a string, but should be a list of strings: [text].")
    block: list[Text] = []
    characters = 0
    for row, text in enumerate(texts):
        if not (isinstance(text, str) and text.isascii()):
            check_text(text, row)
        characters += len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
        block.append(text)
        if len(block) == TEXTS_PER_BLOCK or characters > CHARACTERS_PER_BLOCK:
            yield block
            block, characters = [], 0
    if block:
        yield block


def check_text(text: Any, row: int) -> None:
    """Check one of the texts.

    Raises:
        TypeError: It is neither a string nor a tuple of two strings.
        ValueError: It is not Unicode.
    """
    parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)
    if not all(isinstance(part, str) for part in parts):
        raise TypeError(f"texts[{row}] is {text!r:.80}, but should be a string or a tuple of two strings.")
    try:
        "".join(parts).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"texts[{row}] is {text!r:.80}, but should be Unicode: {error.reason}.") from error


def read_file(folder: str | Path, name: str) -> bytes:
    """Return the content of a file, which must match SHA256SUMS."""
    content = Path(folder, name).read_bytes()
    line = f"{hashlib.sha256(content).hexdigest()}  {name}"
    if line not in Path(folder, "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        raise ValueError(f"{folder}/{name} does not match SHA256SUMS: it is damaged, or belongs to another model.")
    return content


def check_shapes(config: dict[str, Any], weights: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless the tensors have the shapes that the format prescribes."""
    width, labels = config["hidden_size"], len(config["id2label"])
    table = weights.get("table", np.empty(0))
    if table.ndim != 2:
        raise ValueError(f"The tensor table has the shape {table.shape}, but should have a row for each token.")
    rows, columns = table.shape
    features = 2 * width if config["pair_encoding"] == "separate" else width
    wanted = {
        "readout.weight": (width, columns),
        "readout.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if table.dtype == np.int8:
        wanted["table_scales"] = (rows,)
    if labels:
        wanted |= {"classifier.weight": (labels, features), "classifier.bias": (labels,)}
    for name in ("type_rows", "kernel"):
        if name in weights:
            wanted[name] = (len(weights[name]), columns)
    for name, shape in wanted.items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise ValueError(f"The tensor {name} has the shape {found}, but should have {shape}.")


if __name__ == "__main__":
    for label in FoldedWave.load(Path(__file__).parent).predict_stream(line.rstrip("\r\n") for line in sys.stdin):
        print(label)
