"""Tests of WaveConfig."""

import importlib
import json
from typing import Any, get_args

import pytest
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

import wave_hf
from wave_hf import WaveConfig, WavePreTrainedModel, modeling_wave, waves
from wave_hf.configuration_wave import Pooling, Readout, WaveOperation

# A value other than the default for every field.
UNUSUAL: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 16,
    "embedding_size": 4,
    "num_hidden_layers": 2,
    "wave_operation": ["interference", "modulation"],
    "readout": "real",
    "intermediate_size": 24,
    "local_kernel_size": 3,
    "local_kernel_groups": 2,
    "variant_kernel_size": 5,
    "scale_waves": True,
    "update_norm": True,
    "residual": True,
    "final_norm": "pooled",
    "pooling": "cls",
    "pair_encoding": "separate",
    "hidden_dropout_prob": 0.3,
    "token_dropout_prob": 0.2,
    "classifier_dropout": 0.4,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-5,
    "initializer_range": 0.1,
    "pad_token_id": 99,
    "tie_word_embeddings": False,
    "sparse_prediction": True,
    "problem_type": "multi_label_classification",
}


def test_defaults_are_the_single_layer_of_the_paper():
    config = WaveConfig()
    size = (config.vocab_size, config.hidden_size, config.num_hidden_layers)
    assert size == (30522, 768, 1)
    assert (config.wave_operation, config.readout, config.pooling) == ("modulation", "cartesian", "mean")
    assert not config.residual
    sizes = ("embedding_size", "intermediate_size", "local_kernel_size", "type_vocab_size")
    assert not any(getattr(config, part) for part in (*sizes, "max_position_embeddings"))


def test_fields_are_given_by_name():
    with pytest.raises((TypeError, ValueError)):
        WaveConfig(30522)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", 0),
        ("hidden_size", 0),
        ("hidden_size", "32"),
        ("hidden_size", 32.0),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 10_001),
        ("num_hidden_layers", 2**31),
        ("vocab_size", 2**31),
        ("hidden_size", 2**64),
        ("intermediate_size", 2**64),
        ("max_position_embeddings", 2**64),
        ("type_vocab_size", 2**64),
        ("local_kernel_size", 2**64 + 1),
        ("variant_kernel_size", 2**64 + 1),
        ("problem_type", "regresion"),
        ("embedding_size", 0),
        ("intermediate_size", 0),
        ("max_position_embeddings", 0),
        ("type_vocab_size", -1),
        ("wave_operation", "addition"),
        ("wave_operation", ["modulation", "interference"]),
        ("wave_operation", ["addition"]),
        ("wave_operation", []),
        ("readout", "imaginary"),
        ("pooling", "last"),
        ("pair_encoding", "both"),
        ("residual", "yes"),
        ("local_kernel_size", 4),
        ("local_kernel_size", -1),
        ("variant_kernel_size", 2),
        ("final_norm", "both"),
        ("local_kernel_groups", 0),
        ("local_kernel_groups", 7),
        ("hidden_dropout_prob", 1.0),
        ("hidden_dropout_prob", -0.1),
        ("token_dropout_prob", 1.0),
        ("classifier_dropout", 1.0),
        ("layer_norm_eps", 0.0),
        ("initializer_range", -0.02),
        ("pad_token_id", -1),
        ("pad_token_id", 30522),
    ],
)
def test_impossible_value_is_refused_by_the_name_of_its_field(field, value):
    with pytest.raises(StrictDataclassError, match=field):
        WaveConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wave_operation", ["interference"]),
        ("local_kernel_size", 1),
        ("local_kernel_groups", 768),
        ("hidden_dropout_prob", 0),
        ("token_dropout_prob", 0.99),
        ("pad_token_id", None),
        ("pad_token_id", 30521),
    ],
)
def test_value_at_the_edge_of_the_possible_is_taken(field, value):
    assert getattr(WaveConfig(**{field: value}), field) == value


@pytest.mark.parametrize("number", [2**31, 2**64, "3"])
def test_number_of_labels_beyond_any_real_model_is_refused_at_once(number, tmp_path):
    message = f"num_labels is {number!r}, but should be an integer of at most 5,000,000"
    with pytest.raises(ValueError, match=message):
        WaveConfig(num_labels=number)
    config = WaveConfig()
    with pytest.raises(ValueError, match=message):
        config.num_labels = number
    config.save_pretrained(tmp_path)
    with pytest.raises(StrictDataclassError, match=message):
        WaveConfig.from_pretrained(tmp_path, num_labels=number)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_labels": number}))
    with pytest.raises(StrictDataclassError, match=f"config.json of {tmp_path}: {message}"):
        WaveConfig.from_pretrained(tmp_path)


def test_saving_keeps_every_field(tmp_path):
    labels = {
        "id2label": {0: "sports", 1: "business", 2: "science"},
        "label2id": {"sports": 0, "business": 1, "science": 2},
    }
    WaveConfig(**UNUSUAL, **labels).save_pretrained(tmp_path)
    loaded = WaveConfig.from_pretrained(tmp_path)
    assert {field: getattr(loaded, field) for field in WaveConfig.__annotations__} == UNUSUAL
    assert {field: getattr(loaded, field) for field in labels} == labels
    assert loaded.num_labels == 3


@pytest.mark.parametrize("load", [WaveConfig.from_pretrained, AutoConfig.from_pretrained])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_size", -1, "hidden_size is -1, but should be at least 1"),
        ("readout", "imaginary", "'readout' expected one of .* got imaginary"),
        ("id2label", {"first": "sports"}, "'first'"),
        ("id2label", ["sports"], r"id2label is \['sports'\], but should be None or a dict"),
        ("label2id", "sports", "label2id is 'sports', but should be None or a dict"),
        ("initializer_range", float("inf"), "initializer_range is inf, but should be above 0 and finite"),
        ("initializer_range", 1e30, r"initializer_range is 1e\+30, but should be at most 1,000"),
    ],
)
def test_error_about_an_impossible_value_names_the_file(load, field, value, message, tmp_path):
    WaveConfig().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(StrictDataclassError, match=f"config.json of {tmp_path}: .*{message}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("choices", "table"),
    [(WaveOperation, waves.WAVE_OPERATIONS), (Readout, waves.READOUTS), (Pooling, modeling_wave.POOLINGS)],
)
def test_choices_are_the_names_of_a_table(choices, table):
    assert set(get_args(choices)) == table.keys()


def test_auto_map_leads_to_every_class():
    classes = [getattr(wave_hf, name) for name in wave_hf.__all__]
    models = {c for c in classes if isinstance(c, type) and issubclass(c, WavePreTrainedModel)} - {WavePreTrainedModel}
    found = {}
    for auto_class, reference in WaveConfig().auto_map.items():
        assert hasattr(transformers, auto_class)
        module, name = reference.split(".")
        found[auto_class] = getattr(importlib.import_module(f"wave_hf.{module}"), name)
    assert set(found.values()) == models | {WaveConfig}


class TestFolding:
    SETTINGS = {"final_norm": "pooled"}

    @pytest.mark.parametrize(
        "part",
        [
            {},
            {"variant_kernel_size": 3},
            {"scale_waves": True},
            {"residual": True},
            {"embedding_size": 4},
            {"type_vocab_size": 2},
            {"pair_encoding": "separate"},
            {"wave_operation": ["interference"], "readout": "magnitude"},
        ],
    )
    def test_one_layer_that_is_pooled_before_the_norm_folds(self, part):
        config = WaveConfig(**self.SETTINGS, **part)
        assert config.folds
        assert config.folding_obstacle is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("num_hidden_layers", 2),
            ("pooling", "max"),
            ("final_norm", "tokens"),
            ("local_kernel_size", 3),
            ("update_norm", True),
            ("intermediate_size", 12),
            ("max_position_embeddings", 16),
        ],
    )
    def test_obstacle_names_the_setting_and_its_value(self, field, value):
        config = WaveConfig(**self.SETTINGS | {field: value})
        assert not config.folds
        assert f"{field} is {value!r}, but a network folds only with {field}=" in config.folding_obstacle


@pytest.mark.parametrize("operation", ["modulation", ["interference", "modulation"]])
def test_scaled_modulation_whose_magnitude_is_read_is_refused(operation):
    layers = 1 if isinstance(operation, str) else 2
    with pytest.raises(StrictDataclassError, match="scale_waves is True, but should be False if readout='magnitude'"):
        WaveConfig(scale_waves=True, readout="magnitude", wave_operation=operation, num_hidden_layers=layers)
