"""Settings of all tests; and for the tests of scripts, small data files, a small config and ways to run a script."""

import csv
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from hypothesis import settings
from outputs import refusal

from wave_hf import WaveConfig

# Each of the two workers of pytest-xdist, and each process that a test starts, computes on one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

Rows = list[dict[str, Any]]

# The same examples in every run and no time limit, so that a failure can be reproduced everywhere.
settings.register_profile("wave_hf", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("wave_hf")


@pytest.fixture
def mask() -> torch.Tensor:
    """Return the mask of two texts of four and six tokens, padded on the left."""
    return torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks of transformers' own tests, which test_transformers_suite.py runs."""
    if checkout := os.environ.get("TRANSFORMERS_TESTS"):
        tests = Path(checkout, "tests")
        for file in (*tests.glob("*.py"), *tests.glob("generation/*.py"), *tests.glob("exporters/*.py")):
            for mark in set(re.findall(r"\bmark\.(\w+)", file.read_text(encoding="utf-8"))):
                config.addinivalue_line("markers", f"{mark}: used by transformers")


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
def train_file(write: Callable[[str, Rows], str], rows: Rows) -> str:
    """Return a csv file of those rows."""
    return write("train.csv", rows)


@pytest.fixture
def small_config(tmp_path: Path) -> str:
    """Return the folder of a config that trains in an instant."""
    folder = tmp_path / "small-config"
    WaveConfig(vocab_size=200, hidden_size=16).save_pretrained(folder)
    return str(folder)


def to_strings(arguments: Iterable[Any], options: dict[str, Any]) -> list[str]:
    """Return what a shell would pass on; an option that is True is a flag."""
    flags = [[f"--{name}"] if value is True else [f"--{name}", value] for name, value in options.items()]
    return [str(argument) for argument in itertools.chain(arguments, *flags)]


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the arguments and options of the script."""

    def set_arguments(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(sys, "argv", ["script.py", *to_strings(arguments, options)])

    return set_arguments


@pytest.fixture
def run(
    request: pytest.FixtureRequest, command_line: Callable[..., None], small_config: str, tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that runs the `main` of the test's module in this process and returns its output folder."""

    def run_script(*arguments: Any, output: str = "out", new: bool = True) -> Path:
        start = ["--config_name", small_config, "--learning_rate", 0.02] if new else []
        command_line("--output_dir", tmp_path / output, "--use_cpu", "--disable_tqdm", "True", *start, *arguments)
        request.module.main()
        return tmp_path / output

    return run_script


@pytest.fixture
def refused(run: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    """Return a function that expects the script to end with one line, and returns the line."""

    def run_refused(*arguments: Any, **options: Any) -> str:
        before = sorted(tmp_path.rglob("out*"))
        line = refusal(run, *arguments, **options)
        assert sorted(tmp_path.rglob("out*")) == before
        return line

    return run_refused


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Return a function that starts Python with these arguments and options, and without the caches of others."""
    started = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen:
        command = [sys.executable, *to_strings(arguments, options)]
        caches = {"HF_DATASETS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=os.environ | caches, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.terminate()  # unlike SIGKILL, this lets a launcher end its processes
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def run_process(start_process: Callable[..., subprocess.Popen]) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs such a process to its end, which is near."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess:
        process = start_process(*arguments, **options)
        # Those that a launcher starts hold these pipes, too: they must all have ended, and left their ports.
        output, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run
