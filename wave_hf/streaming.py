# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Documents of any length: tokenized in pieces, stored on disk and read window by window in constant memory.

`WaveModel.encode_stream` and `WaveForSequenceClassification.classify_stream` are the way in. Their results are those
of one forward pass, since the tokens of a text meet only in sums over all tokens and in the neighbours that kernels
read.
"""

import copy
import os
import re
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedTokenizerBase

from .configuration_wave import check_length
from .waves import energy

BLOCK_SIZE = 2**16  # characters
MAX_WORD_LENGTH = 2**20

Document = str | os.PathLike | Iterable | Callable[[], Iterable]


class TokenIdFile:
    """The token ids of one text, 4 bytes each, in a temporary file that is deleted with this object.

    Args:
        chunks: The ids in order: tensors, arrays or lists of integers.

    Raises:
        TypeError: The chunks hold numbers that are not integers.
    """

    def __init__(self, chunks: Iterable[Any]):
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 (the backward pass reads it again)
        weakref.finalize(self, self.file.close)
        for chunk in chunks:
            if isinstance(chunk, str | bytes | bytearray):
                kind = type(chunk).__name__
                raise TypeError(f"document has chunks of {kind}, but should have text alone or integers alone.")
            ids = torch.as_tensor(chunk).flatten()
            if ids.is_floating_point() and ids.numel():
                raise TypeError(f"document has chunks of {ids.dtype}, but should have text or integers.")
            # Out-of-range ids are clamped, so that the look-up in the token table raises.
            self.file.write(ids.clamp(-1, 2**31 - 1).to("cpu", torch.int32).numpy().tobytes())
        self.length = self.file.tell() // 4

    def __getitem__(self, tokens: slice) -> torch.Tensor:
        """Return the ids `(1, T)`, int64, from `tokens.start` to `tokens.stop`, which must hold at least one token."""
        self.file.seek(4 * tokens.start)
        ids = bytearray(self.file.read(4 * (tokens.stop - tokens.start)))
        return torch.frombuffer(ids, dtype=torch.int32).long().unsqueeze(0)


def tokenize_document(document: Document, tokenizer: PreTrainedTokenizerBase | None = None) -> TokenIdFile:
    """Tokenize a document in pieces; see `WaveModel.encode_stream` for the arguments and errors."""
    chunks = read_chunks(document)
    first: Any = next(chunks, [])
    chunks = chain([first], chunks)
    before: list[int] = []
    after: list[int] = []
    if isinstance(first, str):
        if tokenizer is None:
            raise ValueError("tokenizer is None, but should be the model's own, to read a document of text.")
        before, after = special_tokens(tokenizer)
        texts = cut_between_words(chunks, tokenizer)
        chunks = (tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts)
    tokens = TokenIdFile(chain([before], chunks, [after]))
    if tokens.length == len(before) + len(after):
        raise ValueError("document is empty, but should have at least one token.")
    return tokens


def read_chunks(document: Document) -> Iterator[Any]:
    """Yield the chunks of a document in order."""
    if isinstance(document, bytes | bytearray):
        raise TypeError("document is bytes, but should be a path, or chunks of text or integers.")
    if isinstance(document, str | os.PathLike):
        # A text is often no valid path at all, which `open` would complain about in words of its own.
        if isinstance(document, str) and not os.path.lexists(document):
            raise FileNotFoundError(
                f"document is {document[:40]!r}, but there is no such file: pass [text] for a text."
            )
        try:
            with open(document, encoding="utf-8") as file:
                yield from iter(partial(file.read, BLOCK_SIZE), "")
        except UnicodeDecodeError as error:
            raise ValueError(f"The file {document} is not UTF-8 ({error}).") from error
    else:
        yield from document() if callable(document) else document


def join_into_blocks(chunks: Iterable[Any]) -> Iterator[str]:
    """Re-chunk a text into blocks of at least BLOCK_SIZE and less than twice as many characters, but for the last."""
    block: list[str] = []
    size = 0
    for chunk in chunks:
        if not isinstance(chunk, str):
            kind = type(chunk).__name__
            raise TypeError(
                f"document has chunks of text and of {kind}, but should have text alone or integers alone."
            )
        for start in range(0, len(chunk), BLOCK_SIZE):
            block.append(chunk[start : start + BLOCK_SIZE])
            size += len(block[-1])
            if size >= BLOCK_SIZE:
                yield "".join(block)
                block, size = [], 0
    yield "".join(block)


def cut_between_words(chunks: Iterable[Any], tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Re-chunk a text before white space or, where a long stretch has none, between words of the tokenizer."""
    rest = ""
    for block in join_into_blocks(chunks):
        text = rest + block
        end = last_white_space(text)
        if end == 0 and len(text) >= 2 * BLOCK_SIZE:
            end = last_word(text, tokenizer)
            if end == 0 and len(text) >= MAX_WORD_LENGTH:
                raise ValueError(
                    f"document has a word of more than {MAX_WORD_LENGTH:,} characters, which cannot be tokenized in "
                    f"pieces: {text[:40]!r}."
                )
        yield text[:end]
        rest = text[end:]
    yield rest


def last_white_space(text: str) -> int:
    """Return where the white space before the last word starts that has any, or 0 if none has."""
    before = re.match(r".+(?=[ \t\n\r]\S)", text, re.DOTALL)
    return before.end() if before else 0


def last_word(text: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return where the last word of a text starts as the tokenizer splits it; 0 if there is one word alone."""
    if text[-1].isspace():
        return len(text) - 1
    if not tokenizer.is_fast:
        return 0
    encoding = tokenizer(text, add_special_tokens=False, verbose=False)
    words = encoding.word_ids()
    # The end of the text may be the beginning of an added token such as [SEP], which must not be cut.
    last = len(text) - max(map(len, tokenizer.get_added_vocab()), default=0)
    starts = [
        start
        for word, previous, (start, _) in zip(words, [None, *words], encoding.encodings[0].offsets, strict=False)
        if word is not None and word != previous and start <= last
    ]
    return max(starts, default=0)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, is_special = encoded["input_ids"], encoded["special_tokens_mask"]
    return ids[: is_special.index(0)], ids[len(ids) - is_special[::-1].index(0) :]


def part_of_text(start: int, end: int, length: int, halo: int) -> tuple[slice, slice]:
    """Return the slice, halo included, that is needed to compute the tokens from `start` to `end` of a text.

    Args:
        start: The first token of the part.
        end: One past its last token; `start` if the part is empty.
        length: The number of tokens of the text.
        halo: `WaveModel.halo`.

    Returns:
        The slice of the text to read, at least one token, and the slice of these tokens that is the part itself.
    """
    first = max(start - halo, 0)
    last = max(min(end + halo, length), first + 1)
    return slice(first, last), slice(start - first, end - first)


class WindowedForward:
    """A forward pass over a text that is read window by window, in eval mode.

    The first pass over the text sums up the G^2 of the first layer. Each further pass computes the layers whose G^2 is
    known once more and sums up that of the next one; the last pass pools. The backward pass, if there is one, computes
    each window once more instead of keeping it.

    Args:
        model: The `WaveModel`.
        tokens: The text.
        window_size: The number of tokens that are computed at a time.
    """

    def __init__(self, model: Any, tokens: TokenIdFile, window_size: int):
        check_length(model.config, tokens.length)
        self.model = evaluation_copy(model)
        # The weights of a model that is offloaded are on no device; it takes its inputs on the CPU.
        self.device = torch.device("cpu") if model.device.type == "meta" else model.device
        self.tokens = tokens
        self.window_size = window_size

    def pool(self) -> torch.Tensor:
        """Return the `pooler_output` of the whole text, `(1, H)`."""
        energies: tuple[torch.Tensor, ...] = ()
        for _ in self.model.layers:
            energies += (sum((part for part, _ in self.run(self.next_energy, energies)), torch.zeros(())),)
        pooled, count = torch.zeros(1, self.model.config.hidden_size, dtype=torch.float64), 0
        for part, size in self.run(self.pool_window, energies):
            pooled = self.model.pooler.pool_parts(torch.stack((pooled, part), dim=1), torch.tensor([[count, size]]))
            count += size
        return self.model.norm_after_pooling(pooled.to(self.device, self.model.dtype))

    def run(self, function: Callable, energies: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, int]]:
        """Apply a function to each window; yield the result, float64 on the CPU, and the window's number of tokens."""
        length, halo = self.tokens.length, self.model.halo
        for start in range(0, length, self.window_size):
            end = min(start + self.window_size, length)
            window = part_of_text(start, end, length, halo)
            # The reentrant form keeps one node a window instead of a graph, but needs an input with a gradient.
            anchor = torch.zeros((), requires_grad=True)
            part = checkpoint(function, *window, anchor, *energies, use_reentrant=True, preserve_rng_state=False)
            yield part.to("cpu", torch.float64), end - start

    def next_energy(self, read: slice, own: slice, _: torch.Tensor, *energies: torch.Tensor) -> torch.Tensor:
        """Return a window's part of the G^2 of the first layer whose G^2 is not known, `(1, 1, 2H)`."""
        layer = self.model.layers[len(energies)]
        variants = layer.mixer.make_variants(layer.read_neighbours(self.hidden_states(read, energies)))
        return energy(variants[:, own]).sum(dim=1, keepdim=True)

    def pool_window(self, read: slice, own: slice, _: torch.Tensor, *energies: torch.Tensor) -> torch.Tensor:
        """Pool the tokens of a window, `(1, H)`, once the G^2 of all layers are known."""
        hidden_states = self.hidden_states(read, energies)[:, own]
        return self.model.pooler(self.model.norm_before_pooling(hidden_states))

    def hidden_states(self, read: slice, energies: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Run the layers whose G^2 is known over the tokens to `read`."""
        position_ids = torch.arange(read.start, read.stop, device=self.device).unsqueeze(0)
        hidden_states = self.model.look_up(self.tokens[read].to(self.device))
        hidden_states = self.model.embed(hidden_states, position_ids=position_ids)
        for layer, known in zip(self.model.layers, energies, strict=False):
            hidden_states = layer(hidden_states, None, partial(match_dtype, known), self.tokens.length)
        return hidden_states


def match_dtype(global_energy: torch.Tensor, variants: torch.Tensor) -> torch.Tensor:
    """Return G^2 on the device of these variants, in their dtype but at least float32."""
    return global_energy.to(variants.device, torch.promote_types(variants.dtype, torch.float32))


def evaluation_copy(model: nn.Module) -> Any:
    """Return a copy in eval mode that shares all tensors and hooks, so that other threads may train the model."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    for module in model.modules():
        shared |= {id(value): value for name, value in vars(module).items() if name.endswith(("_hook", "_hooks"))}
    return copy.deepcopy(model, shared).eval()
