"""A text classification corpus that needs no download, built from the documentation strings of installed libraries.

The task is to predict which library a sentence documents. The sentences are English prose in eight classes of unequal
size, so that training and evaluation can be tried anywhere on a task that is not trivial.
"""

import ast
import gc
import importlib.metadata
import importlib.util
import logging
import random
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, NamedSplit, Value
from datasets.utils import tqdm

logger = logging.getLogger(__name__)

# All of them are installed with this package: they are its dependencies, or dependencies of these.
LIBRARIES = ("torch", "sympy", "transformers", "pandas", "numpy", "networkx", "huggingface_hub", "datasets")
MAX_SENTENCES_PER_LIBRARY = 5_000

_TEST_FOLDERS = {"test", "tests", "testing"}

# Code between fences, and doctests with their output, up to the next empty line.
_CODE = re.compile(r"^[ \t]*```(?s:.*?)^[ \t]*```|^[ \t]*>>>.*(?:\n.*\S.*)*", re.MULTILINE)
# A paragraph consists of lines that do not start like a quotation, directive, underline, table or list, and are not a
# name, or a name before a colon: "ValueError", "Args:", "axis : int", "text (`str`): ...".
_PARAGRAPH = re.compile(
    r"(?:^[ \t]*(?![-*+|#@:<>=~^]|\.\.|\w+$|\S+ ?(?:\(.*\))?:\s)\S.*\n?)+",
    re.MULTILINE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z])")
# Citations, roles such as :class:, the targets of links, and the marks around code and emphasis, but no words.
_MARKUP = re.compile(r"\s*\[\w+\]_|:[\w:]+:(?=`)|\]\([^)]*\)|\s*<[^<>]*>`_*|[`*\[\]~]")
_SENTENCE = re.compile(r"[A-Z].*[\w)][.!?]")
_LIBRARY_NAME = re.compile(rf"{'|'.join(LIBRARIES)}|\b(?:np|pd|nx)\.", re.IGNORECASE)


def load_documentation_corpus(seed: int = 42) -> DatasetDict:
    """Build the corpus from the installed libraries, without importing them.

    Each row is a sentence of prose without markup, and the library that it documents. The corpus does not contain
    sentences that would make the task ill-posed or trivial:

    - Sentences of less than 7 words, most of which could document any library, or of more than 60.
    - Sentences that occur in several libraries, which have no right answer. Sentences that are repeated within one
      library are kept once.
    - Sentences that contain the name of one of the libraries. A library's own name would give the answer away, and the
      name of another library would rule that one out.

    Large libraries are sampled file by file up to 5,000 sentences, so that the sizes of the classes differ less. The
    split is by sentence, so sentences of one docstring may fall into different splits. The rows depend on the versions
    of the libraries, which are logged and stored in `info.description` of each split.

    Args:
        seed: Seed of the order in which files are read, and of the split. The same seed gives the same rows in the
            same order.

    Returns:
        The splits `train`, `validation` and `test` (80, 10 and 10 percent of each class), with the columns `text`
        (string) and `label` (`ClassLabel` over the names of the libraries).

    Raises:
        ImportError: One of the libraries is not installed, or was installed without its Python source.

    Example:
        ```python
        >>> from wave_hf.documentation_corpus import load_documentation_corpus

        >>> corpus = load_documentation_corpus()
        >>> corpus["train"].features["label"].names
        ['torch', 'sympy', 'transformers', 'pandas', 'numpy', 'networkx', 'huggingface_hub', 'datasets']
        ```
    """
    docstrings = {library: read_docstrings(library, seed) for library in LIBRARIES}
    description = _describe(seed)
    logger.info(description)

    progress = tqdm(docstrings.items(), desc="Reading documentation strings", unit="library")
    sentences = {library: _sample_sentences(found) for library, found in progress}

    splits = _split(_drop_shared(sentences), seed)
    return DatasetDict({name: _to_dataset(rows, name, description) for name, rows in splits.items()})


def read_docstrings(library: str, seed: int = 42) -> Iterator[str]:
    """Read the documentation strings of an installed library without importing it.

    Args:
        library: The name of a package, such as those of `LIBRARIES`.
        seed: Seed of the order of its files.

    Returns:
        The docstrings of its modules, classes and functions, file by file in random order. Some are empty.

    Raises:
        ImportError: The library is not installed, or was installed without its Python source.
    """
    paths = _find_sources(library)
    return chain.from_iterable(map(_read_docstrings, random.Random(seed).sample(paths, len(paths))))


def _find_sources(library: str) -> list[Path]:
    """Return the Python files of a library except its tests, sorted."""
    spec = importlib.util.find_spec(library)  # finds a top-level package without importing it
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    sources = [
        path
        for folder in folders
        for path in folder.rglob("*.py")
        if _TEST_FOLDERS.isdisjoint(path.relative_to(folder).parts)
    ]
    if not sources:
        raise ImportError(
            f"The documentation corpus is built from the Python source of {library!r}, which is not installed here or "
            f"has no .py files: run `pip install {library}`.",
            name=library,
        )
    return sorted(sources, key=Path.as_posix)


def _describe(seed: int) -> str:
    versions = ", ".join(f"{library} {importlib.metadata.version(library)}" for library in LIBRARIES)
    return f"Sentences from the documentation strings of {versions}; seed {seed}."


def _sample_sentences(docstrings: Iterator[str]) -> list[str]:
    """Return the first `MAX_SENTENCES_PER_LIBRARY` distinct sentences of the docstrings of one library."""
    sentences: dict[str, str] = {}
    for docstring in docstrings:
        for sentence in prose_sentences(docstring):
            sentences.setdefault(sentence.casefold(), sentence)
        if len(sentences) >= MAX_SENTENCES_PER_LIBRARY:
            break
    return list(sentences.values())[:MAX_SENTENCES_PER_LIBRARY]


def _read_docstrings(path: Path) -> list[str]:
    with warnings.catch_warnings(), _without_garbage_collection():
        warnings.simplefilter("ignore")  # the invalid escapes of a library do not concern its users
        try:
            return list(_docstrings(ast.parse(path.read_bytes())))
        except SyntaxError:  # written for another version of Python
            return []


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause the collection of reference cycles, which would take more time than parsing and find none."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


def _docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    # Visiting only bodies takes a fiftieth of the time of `ast.walk`, which visits every expression.
    yield ast.get_docstring(node) or ""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child)


def prose_paragraphs(docstring: str) -> list[str]:
    """Return the paragraphs of prose in a docstring, each on one line and with its markup."""
    return [" ".join(paragraph.split()) for paragraph in _PARAGRAPH.findall(_CODE.sub("", docstring))]


def prose_sentences(docstring: str) -> Iterator[str]:
    """Yield the sentences of a docstring that belong in the corpus: prose of 7 to 60 words, without its markup."""
    for paragraph in prose_paragraphs(docstring):
        text = " ".join(_MARKUP.sub("", paragraph).split())
        yield from filter(_is_prose, split_sentences(text))


def split_sentences(text: str) -> list[str]:
    """Split a text after the end of each sentence that is followed by a capital letter."""
    return _SENTENCE_END.split(text)


def _is_prose(sentence: str) -> bool:
    return (
        _SENTENCE.fullmatch(sentence) is not None
        and 7 <= len(sentence.split()) <= 60
        and _LIBRARY_NAME.search(sentence) is None
        # Otherwise it is mostly a formula, a path or a signature.
        and sum(map(str.isalpha, sentence)) + sum(map(str.isspace, sentence)) >= 0.85 * len(sentence)
    )


def _drop_shared(sentences: dict[str, list[str]]) -> dict[str, list[str]]:
    counts = Counter(sentence.casefold() for found in sentences.values() for sentence in found)
    return {
        library: [sentence for sentence in found if counts[sentence.casefold()] == 1]
        for library, found in sentences.items()
    }


def _split(sentences: dict[str, list[str]], seed: int) -> dict[str, list[tuple[str, str]]]:
    """Split the sentences of each library: a tenth for validation, a tenth for test, the others for train."""
    # `Dataset.train_test_split` can stratify too, but reads the rows one by one, which takes several seconds.
    generator = random.Random(seed)
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for library, found in sentences.items():
        rows = [(sentence, library) for sentence in found]
        generator.shuffle(rows)
        tenth = len(rows) // 10
        splits["validation"] += rows[:tenth]
        splits["test"] += rows[tenth : 2 * tenth]
        splits["train"] += rows[2 * tenth :]
    for rows in splits.values():
        generator.shuffle(rows)
    return splits


def _to_dataset(rows: list[tuple[str, str]], split: str, description: str) -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(LIBRARIES))})
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    info = DatasetInfo(description=description, features=features)
    return Dataset.from_dict(columns, info=info, split=NamedSplit(split))
