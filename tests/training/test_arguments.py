"""The command line over the defaults of a recipe."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from outputs import refusal
from run_classification import ClassificationArguments
from run_distillation import DistillationArguments
from run_glue_no_trainer import LoopArguments
from run_mlm import MlmArguments
from transformers import TrainingArguments

from wave_hf import WaveConfig, recipes
from wave_hf.training.arguments import RECIPE_OPTIONS, DataArguments, ModelArguments, parse_arguments
from wave_hf.training.loading import load_config

SECRET = "hf_a_secret"


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

    @pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
    @pytest.mark.parametrize("option", ["seed", "data_seed", "shuffle_seed"])
    def test_impossible_seeds_are_refused(self, command_line, option, seed):
        command_line("--output_dir", "out", f"--{option}", seed)
        line = refusal(parse_arguments, ModelArguments, ClassificationArguments, TrainingArguments)
        assert line == f"Arguments: --{option} is {seed}, but should be at least 0 and less than 2**32"

    @pytest.mark.parametrize("option", ["per_device_eval_batch_size", "eval_accumulation_steps"])
    def test_counts_below_one_are_refused(self, command_line, option):
        command_line("--output_dir", "out", f"--{option}", 0)
        line = refusal(parse_arguments, ModelArguments, ClassificationArguments, TrainingArguments)
        assert line == f"Arguments: --{option} is 0, but should be 1 or more"

    @pytest.mark.parametrize("option", ["learning_rate", "weight_decay", "label_smoothing_factor"])
    def test_numbers_that_are_not_finite_are_refused(self, command_line, option):
        command_line("--output_dir", "out", f"--{option}", "nan")
        line = refusal(parse_arguments, ModelArguments, ClassificationArguments, TrainingArguments)
        assert line == f"Arguments: --{option} is nan, but should be a finite number"

    def test_gradients_may_have_any_norm(self, command_line):
        command_line("--output_dir", "out", "--max_grad_norm", "inf")
        assert parse()[2].max_grad_norm == float("inf")

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

    @pytest.mark.parametrize("content", ["[1]", "{", "null", "\N{SNOWMAN}"])
    def test_json_file_without_options_is_named(self, command_line, tmp_path, content):
        file = tmp_path / "arguments.json"
        file.write_text(content, encoding="utf-8")
        command_line(file)
        with pytest.raises(SystemExit, match=r"arguments\.json: ") as error:
            parse()
        assert "\n" not in error.value.code


class TestTrust:
    """A folder from a stranger sets hyperparameters, and nothing else."""

    @pytest.fixture(params=["--config_name", "--model_name_or_path"])
    def set_defaults(self, request, command_line, tmp_path):
        def set_defaults(*arguments: Any, **defaults: Any) -> None:
            command_line(request.param, small_recipe(tmp_path / "from-a-stranger", **defaults), *arguments)

        return set_defaults

    @pytest.mark.parametrize(
        "option",
        [
            *(option.name for option in fields(ModelArguments)),
            *("metric_name", "train_file", "dataset_name", "teacher_logits_dir", "dataloader_num_workers"),
            *("output_dir", "resume_from_checkpoint", "push_to_hub", "hub_model_id", "hub_token", "report_to"),
            *("deepspeed", "fsdp_config", "torch_compile_backend", "no_option_at_all", "__class__", ""),
        ],
    )
    def test_other_options_are_refused_by_name(self, set_defaults, option):
        set_defaults(**{option: SECRET, "learning_rate": 0.5})
        with pytest.raises(SystemExit, match=rf"training_args\.json sets {option}, but may set only") as error:
            parse()
        assert "\n" not in error.value.code
        assert SECRET not in error.value.code

    @pytest.mark.parametrize("value", [[1], {"a": 1}, None])
    def test_values_of_another_kind_are_refused_by_name(self, set_defaults, value):
        set_defaults(learning_rate=value)
        with pytest.raises(SystemExit, match=r"training_args\.json sets learning_rate to "):
            parse()

    @pytest.mark.parametrize("value", ["fast", 1.5])
    def test_values_are_checked_as_those_of_the_command_line(self, set_defaults, value, capsys):
        set_defaults(max_seq_length=value)
        with pytest.raises(SystemExit):
            parse()
        assert re.search(rf"--max_seq_length.*: invalid int value: '{value}'", capsys.readouterr().err)

    def test_what_a_recipe_may_set_are_options_of_the_scripts(self):
        scripts = [ClassificationArguments, DistillationArguments, MlmArguments, TrainingArguments, LoopArguments]
        assert {option.name for script in scripts for option in fields(script)} >= RECIPE_OPTIONS


class TestTokens:
    @pytest.fixture
    def parsed(self, command_line) -> tuple[ModelArguments, DataArguments, TrainingArguments]:
        command_line("--token", SECRET, "--hub_token", SECRET)
        return parse()

    def test_can_be_used(self, parsed):
        model_args, _, training_args = parsed
        assert model_args.hub_options["token"] == training_args.hub_token == SECRET
        assert f"Bearer {training_args.hub_token}" == f"Bearer {SECRET}"

    def test_are_not_saved(self, parsed, tmp_path):
        torch.save(parsed, tmp_path / "training_args.bin")
        assert SECRET.encode() not in (tmp_path / "training_args.bin").read_bytes()
        model_args, _, training_args = torch.load(tmp_path / "training_args.bin", weights_only=False)
        assert model_args.token is training_args.hub_token is None

    def test_are_not_shown(self, parsed):
        assert SECRET not in repr(parsed)
