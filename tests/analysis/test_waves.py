"""The analyzed waves are those of the network."""

import pytest
import torch
from builders import BARE_TOKENIZER, OPERATIONS, TOKENIZER, configs, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from wave_hf import WaveModel, readout
from wave_hf.analysis import interference_pattern, magnitude, phase, waves
from wave_hf.analysis.waves import mean_direction

TEXT = "the surf was not bad"

texts = st.lists(st.sampled_from(["the", "surf", "bad", ".", "unheard"]), max_size=12).map(" ".join)


@given(config=configs(), text=texts)
def test_combined_wave_is_what_the_layer_reads_out(config, text):
    model = tiny_model(config, model_class=WaveModel)
    outputs = []
    for layer in model.layers:
        layer.mixer.register_forward_hook(lambda mixer, args, output: outputs.append((mixer, output[0])))
    analysis = waves(model, TOKENIZER, text)
    assert len(analysis.layers) == config.num_hidden_layers
    for layer, (mixer, output) in zip(analysis.layers, outputs, strict=True):
        with torch.no_grad():
            assert_close(mixer.readout_proj(readout(layer.combined, config.readout)), output)


@given(config=configs(), text=texts)
def test_all_tokens_of_a_variant_have_the_global_magnitude_and_phases_of_half_a_circle(config, text):
    for layer in waves(tiny_model(config), TOKENIZER, text).layers:
        for wave in (layer.first, layer.second):
            global_magnitude = wave[0].square().sum(dim=0).sqrt()
            assert_close(magnitude(wave), global_magnitude.expand_as(wave[0]), atol=1e-4, rtol=1e-4)
            assert ((phase(wave) >= 0) & (phase(wave) <= torch.pi)).all()
            assert_close(magnitude(wave) * phase(wave).cos(), wave[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_interference_pattern_gives_the_energy_of_the_sum(operation):
    (layer,) = waves(tiny_model(wave_operation=operation), TOKENIZER, TEXT).layers
    (a, b), (c, d) = layer.first, layer.second
    g, other_g = magnitude(layer.first), magnitude(layer.second)
    energy = (a + c).square() + (b + d).square()
    assert_close(energy, g**2 + other_g**2 + 2 * g * other_g * interference_pattern(layer), atol=1e-4, rtol=1e-4)


def test_mean_direction_is_as_long_as_the_phases_agree():
    agreeing, opposed = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, -1.0]])
    zero = torch.zeros(1, 2)
    assert_close(mean_direction((agreeing, zero)), (torch.ones(1), torch.zeros(1)))
    assert_close(mean_direction((opposed, zero)), (torch.zeros(1), torch.zeros(1)))


def test_model_is_left_as_it_was():
    model = tiny_model()
    analysis = waves(model, TOKENIZER, TEXT)
    assert analysis.tokens == ["[CLS]", *TEXT.split(), "[SEP]"]
    assert not model.wave.layers[0].mixer._forward_hooks
    assert not any(part.requires_grad for wave in analysis.layers[0] for part in wave)


@pytest.mark.parametrize(("text", "number"), [("", 0), ("surf", 1)])
def test_text_of_fewer_than_two_tokens_is_refused(text, number):
    with pytest.raises(
        ValueError, match=f"text is '{text}': its number of tokens is {number}, but should be at least 2"
    ):
        waves(tiny_model(), BARE_TOKENIZER, text)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="model is a Linear, but should be a Wave Network"):
        waves(torch.nn.Linear(2, 2), TOKENIZER, TEXT)
