"""Recipes are package data that every script can load."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from wave_hf import WaveConfig
from wave_hf.recipes import find_recipe, recipe_names
from wave_hf.training.arguments import ModelArguments, recipe_defaults
from wave_hf.training.classification import ClassificationArguments
from wave_hf.training.loading import load_config


@pytest.mark.parametrize("recipe", recipe_names())
def test_recipes_are_complete(recipe):
    model_args = ModelArguments(config_name=recipe)
    assert isinstance(load_config(model_args), WaveConfig)
    known = {field.name for cls in (ClassificationArguments, TrainingArguments) for field in fields(cls)}
    assert recipe_defaults(model_args).keys() <= known
    assert recipe_defaults(model_args)


def test_the_default_recipe_folds():
    assert load_config(ModelArguments()).folding_obstacle is None


def test_recipes_are_found_by_name():
    assert {"wave-small", "wave-pair", "paper-modulation"} <= set(recipe_names())
    assert (find_recipe("baselines/bert-small") / "training_args.json").is_file()
    assert find_recipe("no-recipe") is None
