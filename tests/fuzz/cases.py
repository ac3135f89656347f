"""Seeded cases of the fuzz, and its rule: the right result, or one clear error.

FUZZ_CASES is the number of cases of each kind, FUZZ_SEED the first seed:

    FUZZ_CASES=2000 FUZZ_SEED=1 python -m pytest tests/fuzz

A case depends only on its seed, which is the number in the name of a test that fails.
"""

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub.errors import StrictDataclassError

# What a function raises for what it cannot take. JSON and Unicode errors are ValueErrors, too.
CLEAR = (ValueError, TypeError, OSError, StrictDataclassError)
NUMBERS = [0, 1, 2, 3, -1, 7, 2**31, 2**64, 0.5, -0.5, 1e30, float("nan"), float("inf")]
STRINGS = ["", " ", "8", "NA", "real", "modulation", "a,b", "$x$", "\n", "é", "\u200b", "None", "true"]
OTHERS = [None, True, False, [], [1], ["interference"], {}, {"0": "a"}, {"a": 1}, [[0]], [None]]
VALUES = NUMBERS + STRINGS + OTHERS


def seeds(cases: int) -> pytest.MarkDecorator:
    """Run a test with each of so many seeds, or as many as FUZZ_CASES says."""
    first, number = int(os.environ.get("FUZZ_SEED", 0)), int(os.environ.get("FUZZ_CASES", cases))
    return pytest.mark.parametrize("seed", range(first, first + number))


def check_message(message: str) -> None:
    """Expect some words; an error that holds only a key or a number explains nothing."""
    assert len(message.split()) > 2, f"this does not explain anything: {message!r}"


def result_or_line(run: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, str | None]:
    """Return the result of a part of a script and `None`, or `None` and the one line that the script ends with."""
    try:
        return run(*arguments, **options), None
    except SystemExit as end:
        if end.code == 2:  # the argument parser has printed what it does not take
            return None, "usage"
        line = end.code
    assert isinstance(line, str)
    assert "\n" not in line
    check_message(line)
    return None, line


def result_or_error(
    run: Callable[..., Any], *arguments: Any, errors: tuple[type[Exception], ...] = CLEAR, **options: Any
) -> tuple[Any, str | None]:
    """Return the result of a function and `None`, or `None` and the message of the clear error that it raises."""
    try:
        return run(*arguments, **options), None
    except errors as error:
        message = str(error)
    check_message(message)
    return None, message


def sample(rng: random.Random, choices: Any, most: int) -> list[Any]:
    """Return at least one and at most so many of the choices."""
    choices = list(choices)
    return rng.sample(choices, rng.randint(1, min(most, len(choices))))
