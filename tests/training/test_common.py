"""Tests of what the example scripts share."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import common
import numpy as np
import pytest
from common import DataArguments, ModelArguments, Task
from run_classification import DataTrainingArguments
from transformers import TrainingArguments

from wave_hf import WaveConfig

RECIPES = sorted(file.parent.name for file in common.RECIPES.glob("*/config.json"))


def small_recipe(folder: Path, **defaults: Any) -> str:
    WaveConfig(hidden_size=16).save_pretrained(folder)
    (folder / "training_args.json").write_text(json.dumps(defaults))
    return str(folder)


def parse() -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    return common.parse_arguments(ModelArguments, DataArguments, TrainingArguments)


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
        monkeypatch.setattr(common, "RECIPES", tmp_path)
        small_recipe(tmp_path / "mine", learning_rate=0.5)
        command_line("--config_name", "mine")
        model_args, _, training_args = parse()
        assert training_args.learning_rate == 0.5
        assert common.load_config(model_args).hidden_size == 16

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


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_complete(recipe):
    model_args = ModelArguments(config_name=recipe)
    assert isinstance(common.load_config(model_args), WaveConfig)
    known = {field.name for cls in (DataTrainingArguments, TrainingArguments) for field in fields(cls)}
    assert common.recipe_defaults(model_args).keys() <= known
    assert common.recipe_defaults(model_args)


class TestLoadConfig:
    def test_overrides(self, small_config):
        overrides = (
            "num_hidden_layers=2,wave_operation=[modulation, interference],residual=true,readout=real,"
            "intermediate_size=32,layer_norm_eps=1e-6,classifier_dropout=None,hidden_dropout_prob=0"
        )
        config = common.load_config(ModelArguments(config_name=small_config, config_overrides=overrides))
        assert (
            config.to_diff_dict().items()
            >= {
                "vocab_size": 200,
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "wave_operation": ["modulation", "interference"],
                "residual": True,
                "readout": "real",
                "intermediate_size": 32,
                "layer_norm_eps": 1e-6,
                "hidden_dropout_prob": 0,
            }.items()
        )
        assert config.classifier_dropout is None

    @pytest.mark.parametrize(
        ("overrides", "named"),
        [
            ("hiden_size=16", "hiden_size"),
            ("hidden_size=wide", "hidden_size"),
            ("hidden_size=0", "hidden_size"),
            ("hidden_size", "hidden_size"),
            ("wave_operation=addition", "wave_operation"),
            ("wave_operation=[modulation,interference]", "wave_operation"),
        ],
    )
    def test_wrong_override_is_named_in_one_line(self, small_config, overrides, named):
        with pytest.raises(SystemExit, match=named) as error:
            common.load_config(ModelArguments(config_name=small_config, config_overrides=overrides))
        assert "\n" not in error.value.code

    def test_unknown_recipe_is_named_beside_the_known(self):
        with pytest.raises(SystemExit, match=r"wave-huge.*wave-small") as error:
            common.load_config(ModelArguments(config_name="wave-huge"))
        assert "\n" not in error.value.code


class TestTask:
    regression = Task("regression", ["LABEL_0"])
    single = Task("single_label_classification", ["no", "yes"])
    multi = Task("multi_label_classification", ["red", "green", "blue"])

    def test_labels_of_the_loss(self):
        assert self.regression.encode(0.5) == 0.5
        assert self.single.encode("yes") == 1
        assert self.multi.encode(["blue", "red"]) == [1.0, 0.0, 1.0]

    def test_predictions_in_words(self):
        logits = np.array([[-0.25], [3.0]])
        assert list(map(self.regression.decode, self.regression.predictions(logits))) == ["-0.250", "3.000"]
        logits = np.array([[1.0, 2.0], [2.0, 1.0]])
        assert list(map(self.single.decode, self.single.predictions(logits))) == ["yes", "no"]
        logits = np.array([[1.0, -2.0, 0.1], [-1.0, -1.0, -1.0]])
        assert list(map(self.multi.decode, self.multi.predictions(logits))) == ["red,blue", ""]

    def test_probabilities(self):
        assert self.single.probabilities(np.array([[0.0, np.log(3)]])) == pytest.approx(np.array([[0.25, 0.75]]))
        assert self.multi.probabilities(np.array([[0.0, 0.0, -50.0]])) == pytest.approx(np.array([[0.5, 0.5, 0.0]]))

    def test_default_metrics(self):
        assert self.regression.default_metrics(np.array([1.0]), np.array([3.0])) == {"mse": 4}
        assert self.single.default_metrics(np.array([1, 0]), np.array([1, 1])) == {"accuracy": 0.5}
        predictions, references = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        assert self.multi.default_metrics(predictions, references) == {"f1": pytest.approx(0.8)}

    def test_config_of_more_than_ten_labels(self, tmp_path):
        task = Task("single_label_classification", [f"topic {i}" for i in range(12)])
        config = WaveConfig()
        task.write_to(config)
        config.save_pretrained(tmp_path)
        assert Task.of_config(WaveConfig.from_pretrained(tmp_path)) == task


def test_predictions_appear_when_complete(tmp_path):
    file = tmp_path / "predict_results.txt"
    with pytest.raises(ValueError, match="shorter"):
        common.write_predictions(file, ["prediction", "yes"], [["yes", "no"], ["0.1"]])
    assert not file.exists()
    common.write_predictions(file, ["prediction", "yes"], [["yes", "no"], ["0.9", "0.1"]])
    assert file.read_text() == "index\tprediction\tyes\n0\tyes\t0.9\n1\tno\t0.1\n"
    assert list(tmp_path.iterdir()) == [file]
