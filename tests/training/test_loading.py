"""Configs of recipes and folders, with overrides; folders with damaged files."""

import json
from pathlib import Path

import pytest
from builders import TEXTS, save_classifier
from damage import halve

from wave_hf import WaveConfig, train_tokenizer
from wave_hf.training.arguments import ModelArguments
from wave_hf.training.loading import check_same_network, load_config, load_model_and_tokenizer


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


class TestDamagedFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        save_classifier(tmp_path)
        return tmp_path

    @staticmethod
    def load(folder):
        """Expect that a folder is refused in one line, which is returned."""
        model_args = ModelArguments(model_name_or_path=str(folder))
        with pytest.raises(SystemExit) as error:
            load_model_and_tokenizer(model_args, load_config(model_args), (), 42, None)
        assert "\n" not in error.value.code
        assert str(folder) in error.value.code
        return error.value.code

    @pytest.mark.parametrize("content", ["", "{", "[]", '"a"', "null", "\ud800"])
    @pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
    def test_tokenizer(self, folder, name, content):
        (folder / name).write_bytes(content.encode(errors="surrogatepass"))
        self.load(folder)

    def test_tokenizer_without_fields(self, folder):
        (folder / "tokenizer.json").write_text("{}")
        self.load(folder)

    def test_longest_text_that_is_no_number(self, folder):
        (folder / "tokenizer_config.json").write_text('{"model_max_length": "many"}')
        assert "model_max_length is 'many'" in self.load(folder)

    def test_tokenizer_of_another_model(self, folder):
        train_tokenizer([f"{text} {number}" for text in TEXTS for number in range(9)] * 2).save_pretrained(folder)
        assert f"{folder}: the tokenizer has ids up to" in self.load(folder)

    @pytest.mark.parametrize("id2label", [["sea", "land", "air"], {"1": "sea", "2": "land"}, {"a": "sea"}, "sea"])
    def test_label_names(self, folder, id2label):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"id2label": id2label}))
        assert "id2label is" in self.load(folder)

    def test_weights(self, folder):
        (folder / "model.safetensors").write_text("cut")
        self.load(folder)

    def test_config_that_is_no_object(self, folder):
        (folder / "config.json").write_text("[]")
        self.load(folder)


class TestSameNetwork:
    @pytest.fixture
    def checkpoint(self, tmp_path) -> str:
        WaveConfig(hidden_size=16).save_pretrained(tmp_path)
        return str(tmp_path)

    def test_difference_is_named(self, checkpoint):
        with pytest.raises(SystemExit, match="hidden_size=16, but this run has hidden_size=8"):
            check_same_network(WaveConfig(hidden_size=8), checkpoint)

    def test_same_config(self, checkpoint):
        check_same_network(WaveConfig(hidden_size=16, dtype="float32"), checkpoint)

    def test_code_of_a_checkpoint_is_not_run_nor_asked_for(self, checkpoint, monkeypatch):
        monkeypatch.setattr("builtins.input", lambda question: pytest.fail("there is nobody to ask"))
        file = Path(checkpoint, "config.json")
        file.write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}))
        with pytest.raises(SystemExit, match="was trained with model_type='mine'"):
            check_same_network(WaveConfig(), checkpoint)

    def test_damaged_config_is_named(self, checkpoint):
        halve(Path(checkpoint, "config.json"))
        with pytest.raises(SystemExit, match=f"^Config of {checkpoint}: ") as error:
            check_same_network(WaveConfig(), checkpoint)
        assert "\n" not in error.value.code
