# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Named recipes: folders with the config of a network and the training defaults that go with it.

`NAME/config.json` is what `AutoConfig.from_pretrained` reads, and `NAME/training_args.json` holds the training
defaults that the example scripts apply with `--config_name NAME`. The recipes in `baselines/` are Transformers to
compare with.
"""

from pathlib import Path

RECIPES = Path(__file__).parent
TRAINING_ARGS_NAME = "training_args.json"


def find_recipe(name: str) -> Path | None:
    """Return the folder of a recipe, or `None` if there is no recipe of this name."""
    folder = RECIPES / name
    return folder if (folder / "config.json").is_file() else None


def recipe_names() -> list[str]:
    """Return the names of all recipes of Wave Networks, sorted."""
    return sorted(file.parent.name for file in RECIPES.glob("*/config.json"))
