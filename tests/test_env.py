"""What bug reports say of an installation."""

import getpass
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml

import wave_hf
from wave_hf import env

BUG_REPORT = Path(__file__).parents[1] / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml"


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    command = [sys.executable, "-m", "wave_hf.env"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(re.fullmatch(r"- ([\w ]+): (.+)", line).groups() for line in lines)


@pytest.mark.slow
def test_versions_are_printed(printed):
    packages = ("transformers", "tokenizers", "datasets", "accelerate", "huggingface_hub", "safetensors")
    expected = {package: version(package) for package in packages}
    expected |= {"wave_hf": wave_hf.__version__, "torch": torch.__version__, "Python": platform.python_version()}
    assert printed.items() >= expected.items()


def test_processor_and_device_are_printed(printed):
    assert printed["CPU"].startswith(torch.backends.cpu.get_cpu_capability())
    assert printed["device"] == "cpu" or torch.accelerator.current_accelerator().type in printed["device"]
    assert platform.machine() in printed["system"]


def test_paths_and_names_are_not_printed(printed):
    text = " ".join(printed.values())
    assert not re.search(r"[/\\~]", text)
    for name in (getpass.getuser(), platform.node()):
        assert not re.search(rf"\b{re.escape(name)}\b", text)


def test_package_that_is_missing_is_no_error(monkeypatch):
    monkeypatch.setattr(env, "PACKAGES", ("transformers", "no-such-package"))
    assert env.describe_environment()["no-such-package"] == "not installed"


@pytest.mark.skipif(not BUG_REPORT.exists(), reason="the source distribution has no issue template")
def test_issue_template_asks_for_it():
    fields = {field["id"]: field for field in yaml.safe_load(BUG_REPORT.read_text(encoding="utf-8"))["body"]}
    assert "`python -m wave_hf.env`" in fields["environment"]["attributes"]["description"]
    assert fields["environment"]["validations"]["required"]
