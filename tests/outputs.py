"""What the scripts write, and the line that they end with, as the tests read it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file


def results(folder: Path) -> dict[str, Any]:
    """Return all metrics of a run."""
    return json.loads((folder / "all_results.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a model or a checkpoint."""
    return load_file(folder / "model.safetensors")


def assert_equal_weights(folder: Path, other: Path, tolerance: float = 1e-6) -> None:
    """Compare the weights of two models or checkpoints."""
    torch.testing.assert_close(weights(folder), weights(other), atol=tolerance, rtol=0)


def refusal(run: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Expect that a script ends with one line, and return the line."""
    with pytest.raises(SystemExit) as error:
        run(*arguments, **options)
    assert isinstance(error.value.code, str)
    assert "\n" not in error.value.code
    return error.value.code
