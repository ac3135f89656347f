"""What the tests of the example scripts share: small data files, a small config, and a way to run a script."""

import csv
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from wave_hf import WaveConfig

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def empty_dataset_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test reads its files anew."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def rows() -> Rows:
    """Return 72 labelled sentences, of 3 to 22 words, which a single word gives away."""
    weather = itertools.product(("rain", "snow", "fog"), ("fell", "stayed", "vanished"), range(4))
    kitchen = itertools.product(("soup", "bread", "rice"), ("boiled", "cooled", "burned"), range(4))
    sentences = [("weather", *words) for words in weather] + [("kitchen", *words) for words in kitchen]
    return [
        {"text": f"The {noun} {verb}" + " and so it went on" * times, "label": label}
        for label, noun, verb, times in sentences
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Rows], str]:
    """Return a function that writes rows to a csv or json file of that name and returns its path."""

    def write_rows(name: str, rows: Rows) -> str:
        file = tmp_path / name
        with file.open("w", newline="") as stream:
            if file.suffix == ".json":
                stream.writelines(json.dumps(row) + "\n" for row in rows)
            else:
                writer = csv.DictWriter(stream, fieldnames=rows[0])
                writer.writeheader()
                writer.writerows(rows)
        return str(file)

    return write_rows


@pytest.fixture
def small_config(tmp_path: Path) -> str:
    """Return the folder of a config that trains in an instant."""
    folder = tmp_path / "small-config"
    WaveConfig(vocab_size=200, hidden_size=16).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the arguments of the script."""

    def set_arguments(*arguments: Any) -> None:
        monkeypatch.setattr(sys, "argv", ["script.py", *map(str, arguments)])

    return set_arguments
