"""The corpus without a Hub: its rows, how they are read out of docstrings, and that a seed fixes them."""

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest
from datasets import ClassLabel, DatasetDict, Value

from wave_hf import documentation_corpus
from wave_hf.documentation_corpus import load_documentation_corpus

pytestmark = pytest.mark.slow

LIBRARIES = ["torch", "sympy", "transformers", "pandas", "numpy", "networkx", "huggingface_hub", "datasets"]


@pytest.fixture(scope="module")
def corpus() -> DatasetDict:
    return load_documentation_corpus()


@pytest.fixture
def small(monkeypatch):
    """Makes the corpus small, and quick to build."""
    monkeypatch.setattr(documentation_corpus, "MAX_SENTENCES_PER_LIBRARY", 100)


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Installs libraries of our own writing, which the corpus is then built from."""
    monkeypatch.setattr(documentation_corpus, "LIBRARIES", ())
    monkeypatch.syspath_prepend(tmp_path)

    def install_library(name: str, files: dict[str, str]) -> None:
        write(tmp_path / f"{name}-1.0.dist-info" / "METADATA", f"Name: {name}\nVersion: 1.0\n")
        for file, source in files.items():
            write(tmp_path / name / file, source)
        monkeypatch.setattr(documentation_corpus, "LIBRARIES", (*documentation_corpus.LIBRARIES, name))

    return install_library


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def texts(corpus: DatasetDict) -> list[str]:
    return [text for split in corpus.values() for text in split["text"]]


def rows(corpus: DatasetDict) -> dict[str, list[dict]]:
    return {name: split.to_list() for name, split in corpus.items()}


def test_columns_and_splits(corpus):
    assert list(corpus) == ["train", "validation", "test"]
    for split in corpus.values():
        assert split.features == {"text": Value("string"), "label": ClassLabel(names=LIBRARIES)}


def test_size_and_balance(corpus):
    counts = Counter(label for split in corpus.values() for label in split["label"])

    assert 30_000 <= counts.total() <= 40_000
    assert len(counts) == len(LIBRARIES)
    assert min(counts.values()) >= 1_000
    assert max(counts.values()) <= 5 * min(counts.values())


def test_every_class_is_split_alike(corpus):
    counts = {name: Counter(split["label"]) for name, split in corpus.items()}
    for label in range(len(LIBRARIES)):
        size = sum(count[label] for count in counts.values())
        assert counts["validation"][label] == counts["test"][label] == size // 10


def test_no_sentence_occurs_twice(corpus):
    assert max(Counter(text.casefold() for text in texts(corpus)).values()) == 1


def test_classes_are_mixed_within_each_split(corpus):
    for split in corpus.values():
        assert len(set(split["label"][:100])) == len(LIBRARIES)


def test_rows_are_sentences_that_name_no_library(corpus):
    for text in texts(corpus):
        assert 7 <= len(text.split()) <= 60
        assert text == " ".join(text.split())
        assert text[0].isupper()
        assert text[-1] in ".!?"
        assert "`" not in text
        assert not text.startswith(">>>")
        assert not any(name in text.casefold() for name in LIBRARIES)


def test_task_is_neither_trivial_nor_hopeless(corpus):
    text = pytest.importorskip("sklearn.feature_extraction.text")
    naive_bayes = pytest.importorskip("sklearn.naive_bayes")
    vectorizer, classifier = text.CountVectorizer(), naive_bayes.MultinomialNB(alpha=0.1)
    train, test = corpus["train"], corpus["test"]
    classifier.fit(vectorizer.fit_transform(train["text"]), train["label"])

    assert 0.7 <= classifier.score(vectorizer.transform(test["text"]), test["label"]) <= 0.95


def test_versions_are_reported(small, caplog):
    with caplog.at_level(logging.INFO, logger="wave_hf"):
        corpus = load_documentation_corpus()

    for library in LIBRARIES:
        assert f"{library} {version(library)}" in caplog.text
        for split in corpus.values():
            assert f"{library} {version(library)}" in split.info.description


def test_seed_fixes_the_rows(small):
    first = rows(load_documentation_corpus(seed=1))

    assert first == rows(load_documentation_corpus(seed=1))
    assert {row["text"] for row in first["test"]} != set(load_documentation_corpus(seed=2)["test"]["text"])


def test_other_processes_build_the_same_rows_and_import_no_library(small):
    script = """
import json, sys
from wave_hf import documentation_corpus
documentation_corpus.MAX_SENTENCES_PER_LIBRARY = 100
before = set(sys.modules)
corpus = documentation_corpus.load_documentation_corpus()
imported = {name.partition(".")[0] for name in set(sys.modules) - before} - {"datasets"}
print(json.dumps([{name: split.to_list() for name, split in corpus.items()}, sorted(imported)]))
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows_there, imported = json.loads(result.stdout)

    assert rows_there == rows(load_documentation_corpus())
    assert not set(imported) & set(LIBRARIES)


def test_only_prose_is_taken(install):
    install(
        "prose",
        {
            "__init__.py": '''
raise RuntimeError("reading must not import")

class Wave:
    r"""
    A wave is *made* of a ``magnitude``
    and of a :class:`phase.Phase` for each token.  It is never, e.g. Hertz thought so, a particle at all!

    Explanation
    ===========

    All waves of a text share one magnitude [1]_. Too short.
    The `phase <https://phase.org>`_ tells waves from one another.

    .. note:: A directive is no prose whatever it may say here.

    Parameters
    ----------
    height : int
        The height of the wave above the [`sea`](https://sea.org), in metres.

    Args:
        depth (`int`): This line opens an entry and is not taken.

    >>> print("Code is not prose even if it reads like it.")
    Code is not prose even if it prints like this.

    ```python
    Nor is this line of code between two fences.
    ```

    - A list item is not a sentence of the running text.

    The set {(a, b), (c, d)} = f(x) ** 2 + {[1, 2, 3], [4, 5, 6]} / 7.
    """

    def break_(self):
        """Breaks the wave on the shore of an island."""
''',
            "nested/deeper.py": '"""Files in folders are read as well as the others."""',
            "tests/test_wave.py": '"""The documentation of tests is not read at all."""',
            "broken.py": '"""A file that does not parse is passed over quietly."""\nprint "so old"',
        },
    )

    assert set(texts(load_documentation_corpus())) == {
        "A wave is made of a magnitude and of a phase.Phase for each token.",
        "It is never, e.g. Hertz thought so, a particle at all!",
        "All waves of a text share one magnitude.",
        "The phase tells waves from one another.",
        "The height of the wave above the sea, in metres.",
        "Breaks the wave on the shore of an island.",
        "Files in folders are read as well as the others.",
    }


def test_shared_sentences_are_dropped_and_repeated_ones_kept_once(install):
    install(
        "first",
        {
            "__init__.py": '"""Both of the libraries say this in their documentation."""',
            "a.py": '"""Only the first library says this, but it says it twice."""',
            "b.py": '"""Only the FIRST library says this,\nbut it says it twice."""',
        },
    )
    install("second", {"__init__.py": '"""Both of the libraries say THIS in their\n documentation."""'})

    (text,) = texts(load_documentation_corpus())

    assert text.casefold() == "only the first library says this, but it says it twice."


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(documentation_corpus, "LIBRARIES", ("datasets", "no_such_library"))

    with pytest.raises(
        ImportError, match=r"'no_such_library', which is not installed .* `pip install no_such_library`"
    ):
        load_documentation_corpus()


def test_library_without_source_is_named(install):
    install("only_compiled", {"__init__.pyc": ""})

    with pytest.raises(ImportError, match=r"'only_compiled'.* has no \.py files"):
        load_documentation_corpus()
