# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Sharing what a script trained: the repository, the push and the model card."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from accelerate import PartialState
from huggingface_hub import HfApi, get_token
from transformers import Trainer

from .arguments import DataArguments, ModelArguments
from .errors import exit_on_error


def create_repository(args: Any) -> None:
    """Create the repository of --push_to_hub if it does not exist, so that missing rights fail before training.

    Args:
        args: The options of a script; `hub_model_id` becomes the full name of the repository.

    Raises:
        SystemExit: The Hub refuses.
    """
    if not args.push_to_hub or not PartialState().is_main_process:
        return
    name = args.hub_model_id or Path(args.output_dir).absolute().name
    with exit_on_error(f"--push_to_hub: {name}"):
        url = HfApi(token=args.hub_token).create_repo(name, private=args.hub_private_repo, exist_ok=True)
    args.hub_model_id = url.repo_id


def publish(
    trainer: Trainer, model_args: ModelArguments, data_args: DataArguments, task: str = "text-classification"
) -> None:
    """Push the model to the Hub, or write the card of a model that was just trained.

    Args:
        trainer: Holds the model and the results.
        model_args: Names the model that training started from.
        data_args: The data, for the card.
        task: Name of the task on the Hub.

    Raises:
        SystemExit: The Hub refuses.
    """
    start = model_args.model_name_or_path
    card: dict[str, Any] = {
        "command": hide_tokens(hide_folders(sys.argv), trainer.args.hub_token, model_args.token, get_token()),
        "finetuned_from": None if start is None or Path(start).exists() else start,
    }
    card |= data_args.card | {"tasks": task}
    if trainer.args.push_to_hub:
        with exit_on_error(f"The model is in {trainer.args.output_dir}, but not on the Hub"):
            trainer.push_to_hub(**card)
    elif trainer.args.do_train:
        trainer.create_model_card(**card)


def hide_folders(arguments: list[str]) -> list[str]:
    """Return the arguments of a script, with the last name of each absolute path in place of the path."""
    return [re.sub(r"(?s)^(--\w+=)?/.*?([^/]+)/*$", r"\1\2", argument) for argument in arguments]


def hide_tokens(arguments: list[str], *tokens: str | None) -> str:
    """Return the command line of a script, with TOKEN in place of each of these tokens."""
    for token in filter(None, tokens):
        arguments = [argument.replace(token, "TOKEN") for argument in arguments]
    return shlex.join(["python", *arguments])
