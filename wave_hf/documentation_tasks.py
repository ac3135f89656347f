# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Tasks that need no download, built from the documentation strings of installed libraries.

- Code words: which words of a paragraph are code? The authors marked them with backticks, which are removed.
- Next sentences: which of four sentences of a library continues a docstring?
- Parameters: which span of a docstring's list of parameters describes a given parameter?

`run_ner.py`, `run_swag.py` and `run_qa.py` use them if no data is named. This command writes them to files:

    python -m wave_hf.documentation_tasks --output_dir tasks
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

from datasets import Dataset, DatasetDict
from datasets.utils import tqdm
from transformers import HfArgumentParser

from .documentation_corpus import LIBRARIES, prose_paragraphs, prose_sentences, read_docstrings, split_sentences
from .files import writing
from .training.errors import exit_on_error

Row = dict[str, Any]

ROWS_PER_LIBRARY = 1_000

_WORD = re.compile(r"\w+(?:[.'-]\w+)*|[^\w\s]")
# `code`, ``code``, :class:`~code` and [`code`](link).
_CODE_SPAN = re.compile(r"\[?(?::[\w:]+:)?(?P<ticks>`{1,2})[~!]?(?P<code>[^`<>]+)(?P=ticks)(?:\](?:\([^)]*\))?)?")
_OTHER_MARKUP = re.compile(r"`|:math:|\$|\]_|>>>")  # marks of links, formulas, citations and doctests

_NUMPY_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=\n\S[^\n]*\n-{3,}|\Z)", re.MULTILINE | re.DOTALL)
_GOOGLE_SECTION = re.compile(r"^(?:Args|Arguments|Parameters):\n((?:[ \t]+\S.*\n?|\s*\n)+)", re.MULTILINE)
_NUMPY_ENTRY = re.compile(r"(\w+) : (.*)\n()((?:.*\n?)*)")
_GOOGLE_ENTRY = re.compile(r"(\w+)(?: ?\((.*?)\))?:[ \t]*(.*)\n?((?:.*\n?)*)")


def load_code_words(seed: int = 42) -> DatasetDict:
    """Build the code words, for `run_ner.py`: `tokens` and `ner_tags` (B-CODE, I-CODE or O)."""
    return _build(_code_words, seed)


def load_next_sentences(seed: int = 42) -> DatasetDict:
    """Build the next sentences, for `run_swag.py`: `sent1`, `sent2` (empty), `ending0` to `ending3` and `label`."""
    return _build(_next_sentences, seed)


def load_sentence_pairs(seed: int = 42) -> DatasetDict:
    """Build pairs of consecutive sentences, for `train_sentence_embeddings.py`: `sentence1` and `sentence2`."""

    def read(row: Row) -> Row:
        return {"sentence1": row["sent1"], "sentence2": row[f"ending{row['label']}"]}

    splits = load_next_sentences(seed)
    return splits.map(read, remove_columns=splits["train"].column_names)


def load_parameters(seed: int = 42) -> DatasetDict:
    """Build the parameters, for `run_qa.py`: `id`, `question`, `context` and `answers`.

    All answers differ, so that none can be memorized.
    """
    return _build(_parameters, seed)


DOCUMENTATION_TASKS = {
    "code_words": load_code_words,
    "next_sentences": load_next_sentences,
    "parameters": load_parameters,
}


def _build(read_rows: Callable[[str, int], Iterator[tuple[str, Row]]], seed: int) -> DatasetDict:
    """Collect up to 1,000 rows of each library, all with different keys, and split them 80 : 10 : 10."""
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
        if 10 <= len(tokens) <= 100 and "B-CODE" in tags and not _OTHER_MARKUP.search(_CODE_SPAN.sub("", paragraph)):
            yield " ".join(tokens).casefold(), {"tokens": tokens, "ner_tags": tags}


def _tag_code(paragraph: str) -> tuple[list[str], list[str]]:
    """Split a paragraph into words, and tag those between backticks."""
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
    # Twice as many as needed, because some are repeated; the wrong endings are drawn from all of them.
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
            start = len("".join(f"{other} " for other in described[:asked]) + f"{name} : {kind} ")
            answers = {"text": [answer], "answer_start": [start]}
            row = {"id": f"{library}-{number}", "question": f"What is {name}?", "context": context, "answers": answers}
            yield answer.casefold(), row


def _read_parameters(docstring: str) -> Iterator[tuple[str, str, str]]:
    """Yield the name, type and first paragraph of the description of each parameter, in NumPy or Google style."""
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
    """Options of the command."""

    output_dir: str = field(metadata={"help": "Folder for TASK/train.json, validation.json and test.json."})


def main() -> None:
    """Parse the command line and write all tasks as json files."""
    parser = HfArgumentParser(FileArguments, prog="python -m wave_hf.documentation_tasks")  # type: ignore[arg-type]
    (args,) = parser.parse_args_into_dataclasses()
    with exit_on_error(f"Tasks in {args.output_dir}"):
        for name, load in DOCUMENTATION_TASKS.items():
            folder = Path(args.output_dir) / name
            folder.mkdir(parents=True, exist_ok=True)
            for split, rows in load().items():
                with writing(folder / f"{split}.json") as stream:
                    stream.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
