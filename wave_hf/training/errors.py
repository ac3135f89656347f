# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Ending a script with one line instead of a traceback, on all processes at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import HTTPError, StrictDataclassError
from safetensors import SafetensorError

LIBRARY_ERRORS = (
    DatasetsError,
    HTTPError,
    OSError,
    RuntimeError,
    SafetensorError,
    StopIteration,
    StrictDataclassError,
    TypeError,
    ValueError,
)


@contextmanager
def exit_on_error(subject: str) -> Iterator[None]:
    """Turn an error of a library into the one line that ends the script.

    Args:
        subject: What the library was given, such as a file or a model. The line starts with it.

    Raises:
        SystemExit: The line, with status 1.
    """
    try:
        yield
    except LIBRARY_ERRORS as error:
        # Errors of configs and datasets keep the reason in their cause.
        reason = (isinstance(error, StrictDataclassError | DatasetsError) and error.__cause__) or error
        raise SystemExit(f"{subject}: {' '.join(str(reason).split()) or 'no content'}") from error


@contextmanager
def exit_all_ranks() -> Iterator[None]:
    """End every process of a run if one of them exits, and print the reason once, on the first.

    Otherwise the remaining processes would wait for the missing one in the first collective operation of training.

    Raises:
        SystemExit: The first reason on rank 0, and status 1 on the other ranks.
    """
    reason: Any = None
    try:
        yield
    except SystemExit as error:
        reason = error.code
    reasons = gather_object([reason]) if torch.distributed.is_initialized() else [reason]
    given = [reason for reason in reasons if reason is not None]
    if given:
        raise SystemExit(given[0] if int(os.environ.get("RANK", 0)) == 0 or given[0] == 0 else 1)
