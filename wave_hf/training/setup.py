# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The start of a run: arguments, logging, and the refusal of what cannot be run."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import datasets
import transformers
from transformers import TrainingArguments

from .arguments import DataArguments, ModelArguments, parse_arguments, recipe_defaults
from .checkpoints import list_checkpoints
from .output_folder import claim_output_folder

logger = logging.getLogger(__name__)


def setup_run(
    data_arguments: type[DataArguments], training_arguments: type[TrainingArguments] = TrainingArguments
) -> tuple[ModelArguments, Any, Any]:
    """Parse the command line of a script with Trainer, set up logging, and refuse what cannot be run.

    Args:
        data_arguments: The class of the script's data options.
        training_arguments: The class of its training options.

    Returns:
        The options of the model, of the data and of the training.

    Raises:
        SystemExit: The arguments are wrong, or the run has nothing to do.
    """
    model_args, data_args, training_args = parse_arguments(ModelArguments, data_arguments, training_arguments)
    setup_logging(training_args.should_log, training_args.get_process_log_level())
    log_recipe(model_args)
    check_launch(training_args.world_size)
    check_request(model_args, training_args)
    return model_args, data_args, training_args


def setup_logging(is_main_process: bool, verbosity: int) -> None:
    """Log what wave_hf does on the main process, and what the libraries do from the level `verbosity` on."""
    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        handlers=[logging.StreamHandler(sys.stdout)],
    )
    for name in ("__main__", "wave_hf"):
        logging.getLogger(name).setLevel(logging.INFO if is_main_process else logging.WARNING)
    datasets.utils.logging.set_verbosity(verbosity)
    transformers.utils.logging.set_verbosity(verbosity)


def log_recipe(model_args: ModelArguments) -> None:
    """Log the training defaults of the recipe, which options on the command line overrule."""
    defaults = [f"{name}={value}" for name, value in recipe_defaults(model_args).items()]
    if defaults:
        logger.info(f"Training defaults of {model_args.config_label}: {', '.join(defaults)}")


def check_launch(world_size: int) -> None:
    """Refuse to train alone when a launcher was asked for several processes."""
    # accelerate launch --cpu --num_processes 2 starts one process, and leaves only the address of the others.
    requested = os.environ.get("WORLD_SIZE", "several" if "MASTER_ADDR" in os.environ else "1")
    if world_size == 1 and requested != "1":
        raise SystemExit(
            f"The launcher was asked for {requested} processes, but started only this one: use torchrun, or "
            "accelerate launch with --multi_gpu or a config of examples/accelerate"
        )
    logger.info(f"world_size: {world_size}")


def check_request(model_args: ModelArguments, training_args: TrainingArguments) -> None:
    """Refuse a run that has nothing to do, no model to do it with, or no folder of its own to write to."""
    if not needed_splits(training_args):
        raise SystemExit("Nothing to do: pass --do_train, --do_eval or --do_predict")
    if not training_args.do_train and model_args.model_name_or_path is None:
        raise SystemExit("Without --do_train there must be a model already: pass --model_name_or_path")
    if not training_args.output_dir:
        raise SystemExit("--output_dir is empty, but should name a folder")
    claim_output_folder(Path(training_args.output_dir))
    if training_args.do_train and not training_args.resume_from_checkpoint:
        check_output_folder(Path(training_args.output_dir))


def check_output_folder(folder: Path) -> None:
    """Claim the output folder of a new run, and refuse to train over a finished model or an unfinished run."""
    claim_output_folder(folder)
    if (folder / "config.json").exists() and any(folder.glob("model*.safetensors")):
        raise SystemExit(f"{folder} holds a finished model: choose another --output_dir")
    if list_checkpoints(folder):
        raise SystemExit(
            f"{folder} holds an unfinished run: --resume_from_checkpoint {folder} continues it, "
            "another --output_dir starts anew"
        )


def needed_splits(training_args: TrainingArguments) -> set[str]:
    """Return the splits that a run reads."""
    needed = {"train": training_args.do_train, "validation": training_args.do_eval, "test": training_args.do_predict}
    return {split for split, is_needed in needed.items() if is_needed}
