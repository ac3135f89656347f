"""The waves of a text in each layer."""

from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from ..modeling_wave import WaveMixer, WavePreTrainedModel
from ..remote_code import is_instance
from ..waves import Wave
from .inputs import encode


class LayerWaves(NamedTuple):
    """The waves of a text in one layer, each `(real, imag)` of `(T, H)` in the dtype of the model.

    Args:
        first: Z, the wave of the first variant of each token.
        second: Z', the wave of the second variant.
        combined: The result of the layer's wave operation on both.
    """

    first: Wave
    second: Wave
    combined: Wave


class TextWaves(NamedTuple):
    """The T tokens of a text, as the tokenizer writes them, and their waves in each layer."""

    tokens: list[str]
    layers: list[LayerWaves]


def waves(model: WavePreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> TextWaves:
    """Return the waves of a text; see `magnitude` and `phase` for their polar form.

    Args:
        model: A Wave Network, with or without a head. It is put in evaluation mode.
        tokenizer: Its tokenizer.
        text: One text, which is not truncated.

    Raises:
        ValueError: The model is not a Wave Network, the tokenizer has more tokens than the model, or the text has more
            tokens than the model has positions, or fewer than two: the magnitude of a single token is G = |w|, and its
            phase is only a sign.
    """
    if not is_instance(model, WavePreTrainedModel):
        raise ValueError(f"model is a {type(model).__name__}, but should be a Wave Network.")
    inputs = encode(model, tokenizer, text, min_tokens=2)
    layers: list[LayerWaves] = []

    def record(mixer: WaveMixer, args: tuple, _: torch.Tensor) -> None:
        # There is no padding, so the mask of the mixer can be left out.
        first, second = mixer.variant_waves(args[0])
        of_batch = (first, second, mixer.combine(first, second))
        layers.append(LayerWaves(*((real[0], imag[0]) for real, imag in of_batch)))

    network: Any = model.base_model.eval()
    hooks = [layer.mixer.register_forward_hook(record) for layer in network.layers]
    try:
        with torch.no_grad():
            network(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return TextWaves(inputs.tokens(), layers)


def phase(wave: Wave) -> torch.Tensor:
    """Return the angle of each value of a wave in radians, in (-pi, pi]; the angle of 0 is 0.

    The network itself needs no angles, see `token2wave`.
    """
    real, imag = wave
    return torch.atan2(imag, real)


def mean_direction(wave: Wave) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of exp(i phase) over the dimensions, as `(real, imag)` of `(T,)` each.

    It lies on the unit circle if all dimensions of a token have the same phase, and near 0 if the phases are spread
    out.
    """
    angle = phase(wave)
    return angle.cos().mean(dim=-1), angle.sin().mean(dim=-1)


def interference_pattern(layer: LayerWaves) -> torch.Tensor:
    """Return cos(phase - phase') of the two variants, `(T, H)` between -1 and 1.

    The energy of their sum is G^2 + G'^2 + 2 G G' cos(phase - phase') (arXiv:2411.02674, wave interference): the
    interference is constructive where the cosine is positive, and destructive where it is negative.
    """
    return (phase(layer.first) - phase(layer.second)).cos()
