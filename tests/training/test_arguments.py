"""The command line over the defaults of a recipe."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from wave_hf import WaveConfig, recipes
from wave_hf.training.arguments import DataArguments, ModelArguments, parse_arguments
from wave_hf.training.loading import load_config


def small_recipe(folder: Path, **defaults: Any) -> str:
    WaveConfig(hidden_size=16).save_pretrained(folder)
    (folder / "training_args.json").write_text(json.dumps(defaults))
    return str(folder)


def parse() -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    return parse_arguments(ModelArguments, DataArguments, TrainingArguments)


class TestParseArguments:
    def test_recipe_sets_defaults_of_all_arguments(self, command_line, tmp_path):
        recipe = small_recipe(tmp_path / "mine", learning_rate=0.5, max_seq_length=7)
        command_line("--config_name", recipe)
        _, data_args, training_args = parse()
        assert (training_args.learning_rate, data_args.max_seq_length) == (0.5, 7)

    def test_command_line_wins_over_recipe(self, command_line, tmp_path):
        recipe = small_recipe(tmp_path / "mine", learning_rate=0.5)
        command_line("--config_name", recipe, "--learning_rate", 0.25)
        assert parse()[2].learning_rate == 0.25

    def test_json_file_wins_over_recipe(self, command_line, tmp_path):
        recipe = small_recipe(tmp_path / "mine", learning_rate=0.5, seed=3)
        file = tmp_path / "arguments.json"
        file.write_text(json.dumps({"config_name": recipe, "learning_rate": 0.25}))
        command_line(file)
        training_args = parse()[2]
        assert (training_args.learning_rate, training_args.seed) == (0.25, 3)

    def test_checkpoint_is_continued_without_recipe_defaults(self, command_line, tmp_path):
        command_line("--model_name_or_path", tmp_path)
        assert parse()[2].learning_rate == TrainingArguments.learning_rate

    def test_checkpoint_may_bring_training_defaults_as_a_recipe_does(self, command_line, tmp_path):
        command_line("--model_name_or_path", small_recipe(tmp_path / "transplanted", learning_rate=0.5))
        assert parse()[2].learning_rate == 0.5

    def test_named_recipe_is_found_among_the_recipes(self, command_line, tmp_path, monkeypatch):
        monkeypatch.setattr(recipes, "RECIPES", tmp_path)
        small_recipe(tmp_path / "mine", learning_rate=0.5)
        command_line("--config_name", "mine")
        model_args, _, training_args = parse()
        assert training_args.learning_rate == 0.5
        assert load_config(model_args).hidden_size == 16

    def test_lengths_are_grouped_unless_refused(self, command_line, tmp_path):
        command_line()
        assert parse()[2].train_sampling_strategy == "group_by_length"
        command_line("--train_sampling_strategy", "random")
        assert parse()[2].train_sampling_strategy == "random"

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [({"learning_rat": 1}, "learning_rat"), ({"optim": "guess"}, "guess"), ({"train_file": "a.txt"}, "a.txt")],
    )
    def test_wrong_json_arguments_are_named(self, command_line, tmp_path, arguments, named):
        file = tmp_path / "arguments.json"
        file.write_text(json.dumps(arguments))
        command_line(file)
        with pytest.raises(SystemExit, match=named):
            parse()
