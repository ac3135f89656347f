# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Ending a script with one line instead of a traceback, on all processes at once."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import StrictDataclassError

from ..files import naming_full_disk
from .output_folder import release_output_folders


@contextmanager
def exit_on_error(subject: str) -> Iterator[None]:
    """Turn the error of a library into the one line that ends the script.

    Libraries raise errors of any kind for what they cannot read, tokenizers even a plain `Exception`.

    Args:
        subject: What the library was given, such as a file or a model. The line starts with it.

    Raises:
        SystemExit: The line, with status 1.
    """
    try:
        yield
    except Exception as error:
        # Errors of configs and datasets keep the reason in their cause.
        reason = (isinstance(error, StrictDataclassError | DatasetsError) and error.__cause__) or error
        line = " ".join(str(reason).split()) or "no content"
        # The message of these names a key, an index or an attribute, and not what is wrong with it.
        kind = f"{type(reason).__name__}: " if isinstance(reason, AttributeError | LookupError) else ""
        raise SystemExit(f"{subject}: {kind}{line}") from error


@contextmanager
def exit_all_ranks() -> Iterator[None]:
    """End every process of a run if one of them exits, and print the reason once, on the first.

    Otherwise the remaining processes would wait for the missing one in the first collective operation of training. An
    output folder that nothing was written to is removed.

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
        release_output_folders()
        # A label or the name of a column may have several lines.
        line = " ".join(given[0].split()) if isinstance(given[0], str) else given[0]
        raise SystemExit(line if int(os.environ.get("RANK", 0)) == 0 or line == 0 else 1)


@contextmanager
def exit_on_full_disk(output_dir: str | None) -> Iterator[None]:
    """Turn the errors that libraries raise on a full disk into the one line that ends the script.

    Args:
        output_dir: The folder that is written to.

    Raises:
        SystemExit: The line, with status 1.
    """
    try:
        with naming_full_disk(Path(str(output_dir))):
            yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise SystemExit(f"{output_dir}: no space is left on the disk; complete checkpoints are kept") from error
