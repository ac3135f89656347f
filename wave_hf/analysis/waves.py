"""The waves that a text becomes in each layer."""

from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from ..modeling_wave import WaveMixer, WavePreTrainedModel
from ..waves import Wave
from .inputs import encode


class LayerWaves(NamedTuple):
    """The waves of a text in one layer, each `(real, imag)` of `(T, H)` in the dtype of the model.

    Args:
        first: Z, of the first variant of each token.
        second: Z', of the second variant.
        combined: What the layer's wave operation makes of both.
    """

    first: Wave
    second: Wave
    combined: Wave


class TextWaves(NamedTuple):
    """The T tokens of a text, as the tokenizer writes them, and their waves in each layer."""

    tokens: list[str]
    layers: list[LayerWaves]


def waves(model: WavePreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> TextWaves:
    """Return the waves of a text; `magnitude` and `phase` tell what each looks like.

    Args:
        model: A Wave Network, with or without a head. It is put in evaluation mode.
        tokenizer: Its tokenizer.
        text: One text. It is not cut off, whatever its length.

    Raises:
        ValueError: The model is another one, the tokenizer has more tokens than the model, or the text has more than
            the model has positions, or fewer than two: a token alone is its own magnitude, G = |w|, and its phase only
            a sign.
    """
    if not isinstance(model, WavePreTrainedModel):
        raise ValueError(f"model is a {type(model).__name__}, but should be a Wave Network: no other has waves.")
    inputs = encode(model, tokenizer, text, min_tokens=2)
    layers: list[LayerWaves] = []

    def record(mixer: WaveMixer, args: tuple, _: torch.Tensor) -> None:
        # Every token is real, so the mask of the mixer changes nothing.
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
    """Return the angle of each value of a wave in radians, above -pi and up to pi; that of a wave of 0 is 0.

    Here, where waves are looked at, is the only place for it: the network itself needs no angle (see `token2wave`).
    """
    real, imag = wave
    return torch.atan2(imag, real)


def mean_direction(wave: Wave) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of exp(i phase) over the dimensions, as `(real, imag)` of `(T,)` each.

    It lies on the unit circle if all dimensions of a token have one phase, and near 0 if they have any.
    """
    angle = phase(wave)
    return angle.cos().mean(dim=-1), angle.sin().mean(dim=-1)


def interference_pattern(layer: LayerWaves) -> torch.Tensor:
    """Return cos(phase - phase') of the two variants, `(T, H)` between -1 and 1.

    The energy of their sum is G^2 + G'^2 + 2 G G' cos(phase - phase') (arXiv:2411.02674, wave interference): where the
    cosine is positive the variants strengthen each other (constructive), where it is negative they weaken each other
    (destructive).
    """
    return (phase(layer.first) - phase(layer.second)).cos()
