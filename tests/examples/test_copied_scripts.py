"""Tests that each example script runs where nothing but the script is: copied alone into an empty folder."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import run_glue

import wave_hf

pytestmark = pytest.mark.slow

SCRIPTS = sorted(Path(run_glue.__file__).parent.glob("*.py"))
NAMES = [script.stem for script in SCRIPTS]
RUNS = ["run_classification", "train_classifier"]
# Runs each script in a process of its own. The processes are forked, so that the libraries are imported once.
RUN_EACH = """
import gc, json, os, runpy, sys
import wave_hf.training.glue, wave_hf.training.trainer

gc.freeze()  # a process that ends would otherwise look at every object, and so copy it
codes = []
for folder, script, *arguments in json.loads(sys.argv[1]):
    if process := os.fork():
        codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        continue
    os.chdir(folder)
    os.dup2(os.open("output.txt", os.O_CREAT | os.O_WRONLY), 1)
    os.dup2(1, 2)
    sys.path[0], sys.argv = folder, [script, *arguments]
    runpy.run_path(script, run_name="__main__")
    sys.exit()
print(json.dumps(codes))
"""


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> dict[str, tuple[int, str, Path]]:
    """Run each script with --help, and some for real; return exit code, output and folder of each by its name."""
    root = tmp_path_factory.mktemp("copies")
    # Of this repository, the scripts find the package alone.
    (root / "site").mkdir()
    (root / "site" / "wave_hf").symlink_to(Path(wave_hf.__file__).parent)
    rows = root / "rows.csv"
    rows.write_text("text,label\n" + "the rain fell,weather\nthe soup boiled,kitchen\n" * 20)
    small = [
        "--train_file",
        str(rows),
        "--validation_file",
        str(rows),
        "--output_dir",
        "out",
        "--num_train_epochs",
        "1",
    ]
    options = {"run_classification": [*small, "--do_train", "--do_eval"], "train_classifier": small}
    commands: dict[str, list[Any]] = {script.stem: [script, "--help"] for script in SCRIPTS}
    commands |= {f"run of {script.stem}": [script, *options[script.stem]] for script in SCRIPTS if script.stem in RUNS}
    for name, command in commands.items():
        (root / name).mkdir()
        shutil.copy(command[0], root / name)
        commands[name] = [str(root / name), command[0].name, *command[1:]]
    environment = os.environ | {"PYTHONPATH": str(root / "site"), "HF_DATASETS_CACHE": str(root / "cache")}
    started = subprocess.run(
        [sys.executable, "-c", RUN_EACH, json.dumps(list(commands.values()))],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    codes = json.loads(started.stdout.splitlines()[-1])
    return {
        name: (code, (root / name / "output.txt").read_text(), root / name)
        for name, code in zip(commands, codes, strict=True)
    }


def check(copies: dict[str, tuple[int, str, Path]], name: str) -> Path:
    """Return the folder of a script that ended well; skip if a library that it needs is not installed."""
    code, output, folder = copies[name]
    missing = re.search(r"ModuleNotFoundError: No module named '(\w+)", output)
    if missing and missing[1] not in NAMES and importlib.util.find_spec(missing[1]) is None:
        pytest.skip(f"needs {missing[1]}")
    assert code == 0, output
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_prints_its_help(copies, name):
    check(copies, name)


@pytest.mark.parametrize("name", RUNS)
def test_trains_and_evaluates(copies, name):
    folder = check(copies, f"run of {name}")
    results = json.loads((folder / "out" / "eval_results.json").read_text())
    assert 0 <= results["eval_accuracy"] <= 1
    assert (folder / "out" / "model.safetensors").exists()
