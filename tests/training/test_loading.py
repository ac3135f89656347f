"""Configs of recipes and folders, with overrides."""

import pytest

from wave_hf.training.arguments import ModelArguments
from wave_hf.training.loading import load_config


class TestLoadConfig:
    def test_overrides(self, small_config):
        overrides = (
            "num_hidden_layers=2,wave_operation=[modulation, interference],residual=true,readout=real,"
            "intermediate_size=32,layer_norm_eps=1e-6,classifier_dropout=None,hidden_dropout_prob=0"
        )
        config = load_config(ModelArguments(config_name=small_config, config_overrides=overrides))
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
            load_config(ModelArguments(config_name=small_config, config_overrides=overrides))
        assert "\n" not in error.value.code

    def test_unknown_recipe_is_named_beside_the_known(self):
        with pytest.raises(SystemExit, match=r"wave-huge.*wave-small") as error:
            load_config(ModelArguments(config_name="wave-huge"))
        assert "\n" not in error.value.code
