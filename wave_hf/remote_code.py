# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Models whose classes came with their weights, as `trust_remote_code=True` loads them.

Their classes are copies: they behave like those of this package, but `isinstance` knows nothing of that.
"""

from typing import Any


def is_instance(thing: Any, *classes: type) -> bool:
    """Return whether a thing is of one of these classes, or of a copy of one that `trust_remote_code` loaded."""
    return any(identity(base) in map(identity, classes) for base in type(thing).__mro__)


def identity(cls: type) -> tuple[str, str]:
    """Return what a class and its copies have in common: the name of their file and their own."""
    return cls.__module__.rpartition(".")[2], cls.__qualname__
