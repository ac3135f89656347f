"""Settings and fixtures of all tests."""

import os
import re
from pathlib import Path

import pytest
import torch
from hypothesis import settings

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
