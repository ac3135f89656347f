# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Loading the config, the tokenizer and the model of a run, or making new ones."""

import ast
import inspect
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from ..files import MISMATCHED_SIZES, check_label_names
from ..recipes import recipe_names
from ..tokenization import check_tokenizer_fits, load_saved_tokenizer, text_limits, train_tokenizer
from .arguments import ModelArguments
from .errors import exit_on_error

# Fields of a config that do not describe the network.
NOT_OF_THE_NETWORK = {"_name_or_path", "architectures", "auto_map", "dtype", "transformers_version"}


def load_config(model_args: ModelArguments) -> PreTrainedConfig:
    """Load the config of a recipe, folder or Hub id, and apply --config_overrides.

    Raises:
        SystemExit: There is no such config, or it has no such field, or a value is impossible.
    """
    overrides = _parse_overrides(model_args.config_overrides or "")
    is_folder = Path(model_args.config_source).is_dir()
    recipes = "" if is_folder else f" (the recipes are {', '.join(recipe_names())})"
    with exit_on_error(f"Config {model_args.config_label}{recipes}"):
        content, _ = PreTrainedConfig.get_config_dict(model_args.config_source, **model_args.hub_options)
        check_label_names(content.get("id2label"))
        config = AutoConfig.from_pretrained(model_args.config_source, **model_args.hub_options)
        unknown = overrides.keys() - {option.name for option in fields(config)}
        if unknown:
            raise SystemExit(f"--config_overrides: {type(config).__name__} has no {', '.join(sorted(unknown))}")
        # Only the constructor validates fields against each other.
        return type(config).from_dict(config.to_dict() | overrides)


def _parse_overrides(overrides: str) -> dict[str, Any]:
    outside_brackets = r",(?![^\[]*\])"
    pairs = (pair.partition("=") for pair in re.split(outside_brackets, overrides) if pair)
    return {name.strip(): _parse_value(value.strip()) for name, _, value in pairs}


def _parse_value(text: str) -> Any:
    if text.startswith("["):
        return [_parse_value(item.strip()) for item in text.strip("[]").split(",")]
    try:
        return ast.literal_eval(text.capitalize())  # a number, true, False, none
    except (SyntaxError, ValueError):
        return text


def load_model_and_tokenizer(
    model_args: ModelArguments,
    config: PreTrainedConfig,
    texts: Iterable[str],
    seed: int,
    checkpoint: str | None,
    auto_class: Any = AutoModelForSequenceClassification,
    do_lower_case: bool = True,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load or make the model, and the tokenizer that returns exactly the inputs the model takes.

    Args:
        model_args: Names of the model and the tokenizer, if they are not new.
        config: Config of the model. For a new model, `vocab_size` and `pad_token_id` are set to fit the tokenizer.
        texts: Texts to train a new tokenizer on; they are read only then.
        seed: Seed of new weights.
        checkpoint: Checkpoint that the run resumes from.
        auto_class: Auto class of the model.
        do_lower_case: Whether a new tokenizer lowercases.

    Raises:
        SystemExit: Something cannot be loaded, or the parts do not belong together.
    """
    tokenizer = load_tokenizer(model_args, config, texts, checkpoint, do_lower_case)
    model = load_model(model_args, config, seed, auto_class)
    check_same_network(model.config, checkpoint)
    # Some networks take no attention mask, or no token types.
    taken = inspect.signature(model.forward).parameters
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in taken]
    if getattr(config, "pair_encoding", None) == "separate":
        ask_for_token_types(tokenizer)
    return model, tokenizer


def ask_for_token_types(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the tokenizer return the token types that tell the texts of a pair apart.

    Raises:
        SystemExit: It has the same type for both texts.
    """
    types = tokenizer("a", "b", return_token_type_ids=True)["token_type_ids"]
    if len(set(types)) < 2:
        raise SystemExit(
            "The tokenizer has the same token type for both texts of a pair, but pair_encoding=separate compares them "
            "by their types: choose another tokenizer, or pair_encoding=joint"
        )
    if "token_type_ids" not in tokenizer.model_input_names:
        tokenizer.model_input_names = [*tokenizer.model_input_names, "token_type_ids"]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names  # to be saved


def load_tokenizer(
    model_args: ModelArguments,
    config: PreTrainedConfig,
    texts: Iterable[str],
    checkpoint: str | None,
    do_lower_case: bool = True,
) -> PreTrainedTokenizerBase:
    """Load the tokenizer, or train one of `config.vocab_size` tokens; see `load_model_and_tokenizer`."""
    name = model_args.tokenizer_name or model_args.model_name_or_path or checkpoint
    tokenizer: PreTrainedTokenizerBase
    with exit_on_error(f"Tokenizer {name or 'of the training texts'}"):
        if name is None:
            tokenizer = train_tokenizer(texts, config.vocab_size, do_lower_case)
        else:
            tokenizer = load_saved_tokenizer(name, **model_args.hub_options)
        text_limits(tokenizer, config)  # raises an error if model_max_length is no number
        if model_args.model_name_or_path is not None:
            check_tokenizer_fits(tokenizer, config, model_args.model_name_or_path)
    if model_args.model_name_or_path is None:
        if tokenizer.pad_token is None:  # as in the tokenizers of GPT models
            tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    return tokenizer


def load_model(model_args: ModelArguments, config: PreTrainedConfig, seed: int, auto_class: Any) -> PreTrainedModel:
    """Load the checkpoint, or make a new model whose weights depend only on its class, config and seed."""
    set_seed(seed)
    if model_args.model_name_or_path is None:
        return auto_class.from_config(config, trust_remote_code=model_args.trust_remote_code)
    with exit_on_error(f"Model {model_args.model_name_or_path}"):
        try:
            return auto_class.from_pretrained(
                model_args.model_name_or_path,
                config=config,
                ignore_mismatched_sizes=model_args.ignore_mismatched_sizes,
                **model_args.hub_options,
            )
        except RuntimeError as error:
            if MISMATCHED_SIZES not in str(error):
                raise
            raise ValueError(
                f"the weights do not fit the config, or the {config.num_labels} labels of this run: pass "
                "--ignore_mismatched_sizes to initialize anew what does not fit"
            ) from error


def check_same_network(config: PreTrainedConfig, checkpoint: str | None) -> None:
    """Refuse to resume a run with another config, and name the field that differs."""
    if checkpoint is None or not (Path(checkpoint) / "config.json").exists():
        return
    with exit_on_error(f"Config of {checkpoint}"):
        saved, _ = type(config).get_config_dict(checkpoint)
        # Read as the config of this run: whatever class the file names, no code of it is run.
        trained = type(config).from_dict(saved).to_dict() | {"model_type": saved.get("model_type")}
    wanted = config.to_dict()
    for name in sorted(wanted.keys() - NOT_OF_THE_NETWORK):
        if wanted[name] != trained.get(name):
            raise SystemExit(
                f"--resume_from_checkpoint: {checkpoint} was trained with {name}={trained.get(name)!r}, "
                f"but this run has {name}={wanted[name]!r}"
            )
