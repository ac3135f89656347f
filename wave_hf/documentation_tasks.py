#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Tasks that need no download, made of the documentation strings of installed libraries.

    python examples/documentation_tasks.py --output_dir tasks

writes them as files; `run_ner.py`, `run_swag.py` and `run_qa.py` read theirs without that, if no data is named.

- Code words: which words of a paragraph are code? The authors marked them with backticks, which are taken away.
- Next sentence: which of four sentences goes on with a docstring? All four are of one library.
- Parameters: which span of a docstring's list of parameters tells what one of them is?
"""

import json
import random
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from common import exit_on_error
from datasets import Dataset, DatasetDict
from datasets.utils import tqdm
from transformers import HfArgumentParser

from wave_hf.documentation_corpus import LIBRARIES, prose_paragraphs, prose_sentences, read_docstrings, split_sentences
from wave_hf.files import writing

Row = dict[str, Any]

ROWS_PER_LIBRARY = 1_000

_WORD = re.compile(r"\w+(?:[.'-]\w+)*|[^\w\s]")
# `code`, ``code``, :class:`~code` and [`code`](link), all of them with the backticks of their ends.
_CODE_SPAN = re.compile(r"\[?(?::[\w:]+:)?(?P<ticks>`{1,2})[~!]?(?P<code>[^`<>]+)(?P=ticks)(?:\](?:\([^)]*\))?)?")
_NOT_OURS = re.compile(r"`|:math:|\$|\]_|>>>")  # links, formulas, citations: what is left of their marks

_NUMPY_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=\n\S[^\n]*\n-{3,}|\Z)", re.MULTILINE | re.DOTALL)
_GOOGLE_SECTION = re.compile(r"^(?:Args|Arguments|Parameters):\n((?:[ \t]+\S.*\n?|\s*\n)+)", re.MULTILINE)
_NUMPY_ENTRY = re.compile(r"(\w+) : (.*)\n()((?:.*\n?)*)")
_GOOGLE_ENTRY = re.compile(r"(\w+)(?: ?\((.*?)\))?:[ \t]*(.*)\n?((?:.*\n?)*)")


def load_code_words(seed: int = 42) -> DatasetDict:
    """Return words with a tag each, as `run_ner.py` reads them: `tokens`, `ner_tags` (B-CODE, I-CODE, O)."""
    return _build(_code_words, seed)


def load_next_sentences(seed: int = 42) -> DatasetDict:
    """Return choices as `run_swag.py` reads them: `sent1`, `sent2` (empty), `ending0` to `ending3`, `label`."""
    return _build(_next_sentences, seed)


def load_sentence_pairs(seed: int = 42) -> DatasetDict:
    """Return sentences that follow each other, as `train_sentence_embeddings.py` reads them."""

    def read(row: Row) -> Row:
        return {"sentence1": row["sent1"], "sentence2": row[f"ending{row['label']}"]}

    splits = load_next_sentences(seed)
    return splits.map(read, remove_columns=splits["train"].column_names)


def load_parameters(seed: int = 42) -> DatasetDict:
    """Return questions as `run_qa.py` reads them: `id`, `question`, `context`, `answers`.

    An answer occurs once in all rows, so that none can be learnt by heart.
    """
    return _build(_parameters, seed)


DOCUMENTATION_TASKS = {
    "code_words": load_code_words,
    "next_sentences": load_next_sentences,
    "parameters": load_parameters,
}


def _build(read_rows: Callable[[str, int], Iterator[tuple[str, Row]]], seed: int) -> DatasetDict:
    """Collect up to 1,000 rows of each library with a key that is theirs alone, and split them 80 : 10 : 10."""
    rows: dict[str, Row] = {}
    for library in tqdm(LIBRARIES, desc="Reading documentation strings", unit="library"):
        unseen = ((key, row) for key, row in read_rows(library, seed) if key not in rows)
        for key, row in islice(unseen, ROWS_PER_LIBRARY):
            rows[key] = row
    shuffled = random.Random(seed).sample(list(rows.values()), len(rows))
    tenth = len(shuffled) // 10
    splits = {"train": shuffled[2 * tenth :], "validation": shuffled[:tenth], "test": shuffled[tenth : 2 * tenth]}
    return DatasetDict({split: Dataset.from_list(rows) for split, rows in splits.items()})


def _code_words(library: str, seed: int) -> Iterator[tuple[str, Row]]:
    for paragraph in chain.from_iterable(map(prose_paragraphs, read_docstrings(library, seed))):
        tokens, tags = _tag_code(paragraph)
        if 10 <= len(tokens) <= 100 and "B-CODE" in tags and not _NOT_OURS.search(_CODE_SPAN.sub("", paragraph)):
            yield " ".join(tokens).casefold(), {"tokens": tokens, "ner_tags": tags}


def _tag_code(paragraph: str) -> tuple[list[str], list[str]]:
    """Cut a paragraph into words, and tell which stood between backticks."""
    tokens: list[str] = []
    tags: list[str] = []
    start = 0
    for span in _CODE_SPAN.finditer(paragraph):
        prose, code = _WORD.findall(paragraph[start : span.start()]), _WORD.findall(span["code"])
        tokens += prose + code
        tags += ["O"] * len(prose) + ["B-CODE", *["I-CODE"] * len(code)][: len(code)]
        start = span.end()
    rest = _WORD.findall(paragraph[start:])
    return tokens + rest, tags + ["O"] * len(rest)


def _next_sentences(library: str, seed: int) -> Iterator[tuple[str, Row]]:
    openings = (list(islice(prose_sentences(docstring), 2)) for docstring in read_docstrings(library, seed))
    # More than are needed, as some occur twice; the false endings are drawn from all of them.
    pairs = dict(islice((opening for opening in openings if len(opening) == 2), 2 * ROWS_PER_LIBRARY))
    generator = random.Random(seed)
    for first, second in pairs.items():
        others = sorted(set(pairs.values()) - {first, second})
        if len(others) >= 3:
            endings = [second, *generator.sample(others, 3)]
            generator.shuffle(endings)
            choices = {f"ending{i}": ending for i, ending in enumerate(endings)}
            yield first.casefold(), {"sent1": first, "sent2": "", **choices, "label": endings.index(second)}


def _parameters(library: str, seed: int) -> Iterator[tuple[str, Row]]:
    generator = random.Random(seed)
    for number, docstring in enumerate(read_docstrings(library, seed)):
        entries = list(_read_parameters(docstring))
        described = [f"{name} : {kind} {text}" for name, kind, text in entries]
        context = " ".join(described)
        if len(entries) < 2 or len(context.split()) > 150:
            continue
        asked = generator.randrange(len(entries))
        name, kind, text = entries[asked]
        answer = split_sentences(text)[0]
        if 3 <= len(answer.split()) <= 25:
            start = len("".join(f"{told} " for told in described[:asked]) + f"{name} : {kind} ")
            answers = {"text": [answer], "answer_start": [start]}
            row = {"id": f"{library}-{number}", "question": f"What is {name}?", "context": context, "answers": answers}
            yield answer.casefold(), row


def _read_parameters(docstring: str) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the type and the first paragraph of what is said of each parameter, in two common styles."""
    for section, entry in ((_NUMPY_SECTION, _NUMPY_ENTRY), (_GOOGLE_SECTION, _GOOGLE_ENTRY)):
        for block in section.findall(docstring):
            for part in re.split(r"^(?=\S)", textwrap.dedent(block), flags=re.MULTILINE):
                if match := entry.fullmatch(part):
                    name, kind, first_line, others = match.groups()
                    paragraph = re.split(r"\n\s*\n", f"{first_line}\n{textwrap.dedent(others)}".strip())[0]
                    text, kind = (" ".join(re.sub(r"[`*]|:\w+:(?=`)", "", t or "").split()) for t in (paragraph, kind))
                    if text:
                        yield name, kind, text


@dataclass
class FileArguments:
    """Where the files go."""

    output_dir: str = field(metadata={"help": "Folder for TASK/train.json, validation.json and test.json."})


def main() -> None:
    """Write all tasks as json files."""
    with exit_on_error("Arguments"):
        (args,) = HfArgumentParser(FileArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    for name, load in DOCUMENTATION_TASKS.items():
        folder = Path(args.output_dir) / name
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in load().items():
            with writing(folder / f"{split}.json") as stream:
                stream.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
