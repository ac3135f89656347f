# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The mathematics of waves, in PyTorch alone: tokens become waves, waves are combined and read out as real features.

Zhang & Sheng, "Wave Network: An Ultra-Small Language Model", arXiv:2411.02674, and "Token2Wave", arXiv:2411.06989.

A text is a tensor of tokens `(B, T, H)`. Each token becomes a complex wave with a phase of its own and the magnitude
that all tokens of the text share. The waves of two variants of each token are then added (interference) or multiplied
(modulation). The tokens of a text meet only in the sum that gives the magnitude, so time and memory are linear in T.

A wave is a pair `(real, imag)` of real tensors, which half precisions, compilers and exporters handle well.
"""

import torch

Wave = tuple[torch.Tensor, torch.Tensor]


def check_mask(
    mask: torch.Tensor | None,
    shape: torch.Size,
    name: str = "attention_mask",
    meaning: str = "1 for real tokens and 0 for padding",
) -> None:
    """Raise an error unless a mask is `None` or has this shape, `(B, T)`, and no value below 0.

    An additive mask, 0 for real tokens and -inf for padding, would otherwise be read inverted. Its values are not
    checked while a graph is traced or compiled, nor integers on a GPU, which the check would make wait.

    Raises:
        TypeError: The mask is no tensor.
        ValueError: It has another shape, or values below 0.
    """
    if mask is None:
        return
    if not isinstance(mask, torch.Tensor):
        raise TypeError(f"{name} is a {type(mask).__name__}, but should be a tensor.")
    if mask.shape != shape:
        raise ValueError(f"{name} has the shape {tuple(mask.shape)}, but should have {tuple(shape)}.")
    if type(mask) is not torch.Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing() or mask.is_meta:
        return
    if (mask.is_floating_point() or mask.device.type == "cpu") and not (mask >= 0).all():
        raise ValueError(f"{name} has values below 0, but should be {meaning}.")


def mask_tokens(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Set the tokens of `x` `(B, T, H)` to zero where `mask` `(B, T)` is zero; `None` means every token is real."""
    return x if mask is None else x * (mask != 0).unsqueeze(-1)


def side_masks(
    tokens: torch.Tensor, mask: torch.Tensor | None, token_type_ids: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one attention mask for each side of pairs of texts.

    Args:
        tokens: `(B, T)` or `(B, T, H)`, any dtype.
        mask: `(B, T)`, non-zero for real tokens; `None` means that all are.
        token_type_ids: `(B, T)`, 1 for the tokens of the second side; `None` means that there are none.

    Returns:
        The masks of the first and of the second sides, each `(B, T)`.

    Raises:
        ValueError: `mask` or `token_type_ids` has another shape, or values below 0.
    """
    check_mask(mask, tokens.shape[:2])
    check_mask(token_type_ids, tokens.shape[:2], "token_type_ids", "0 for the first and 1 for the second side")
    mask = tokens.new_ones(tokens.shape[:2]) if mask is None else mask
    types = torch.zeros_like(mask) if token_type_ids is None else token_type_ids
    return mask * (types != 1), mask * (types == 1)


def energy(x: torch.Tensor) -> torch.Tensor:
    """Return w^2 in at least float32: the differences G^2 - w^2 would be ruined by squares in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).square()


class SquareRoot(torch.autograd.Function):
    """sqrt(x), with a gradient of 0 at 0, where the true one is infinite; rounding may have put x below 0."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        root = x.clamp(min=0).sqrt()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx, grad_output: torch.Tensor) -> torch.Tensor:
        (root,) = ctx.saved_tensors
        # A masked quotient has a gradient of NaN where the root is 0; division by infinity gives 0 there.
        return grad_output / (2 * root.masked_fill(root == 0, torch.inf))


# Tokens to waves


def global_magnitude(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """G_k = sqrt(sum_j w_jk^2), the magnitude that all tokens of a text share: its global semantics.

    Args:
        x: Tokens `(B, T, H)`, any floating dtype.
        mask: `(B, T)`, non-zero for the tokens that count; `None` counts all.

    Returns:
        `(B, 1, H)` in the dtype of `x`.

    Raises:
        ValueError: `mask` has another shape, or values below 0.
    """
    check_mask(mask, x.shape[:2])
    return SquareRoot.apply(energy(mask_tokens(x, mask)).sum(dim=1, keepdim=True)).to(x.dtype)


class ImaginaryPart(torch.autograd.Function):
    """sqrt(G^2 - w^2) of tokens `(B, T, H)`, with fewer passes over memory than autograd would need.

    With h_j = grad_j / imag_j, and 0 where imag_j is 0, the gradient of w_j is w_j (sum_k h_k - h_j).
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        token_energy = energy(x)
        global_energy = token_energy.sum(dim=1, keepdim=True)
        imag = token_energy.neg_().add_(global_energy).clamp_(min=0).sqrt_()
        ctx.save_for_backward(x, imag)
        return imag.to(x.dtype)

    @staticmethod
    def backward(ctx, grad_output: torch.Tensor) -> torch.Tensor:
        x, imag = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives, `imag` must be a function of `x` in the graph
            imag = SquareRoot.apply(energy(x).sum(dim=1, keepdim=True) - energy(x))
            imag = imag.masked_fill(imag == 0, torch.inf)
        ratio = (grad_output / imag).masked_fill_(imag == 0, 0.0)
        total = ratio.sum(dim=1, keepdim=True)
        return ratio.neg_().add_(total).mul_(x).to(x.dtype)


def token2wave(x: torch.Tensor, mask: torch.Tensor | None = None, global_energy: torch.Tensor | None = None) -> Wave:
    """Z_j = G exp(i alpha_j): turn each token into a wave (arXiv:2411.02674, complex vector token representation).

    The paper gives the phase as alpha = arctan2(sqrt(1 - (w/G)^2), w/G), so that cos(alpha) = w/G and
    sin(alpha) = sqrt(1 - (w/G)^2) >= 0. Hence Z = G cos(alpha) + i G sin(alpha) = w + i sqrt(G^2 - w^2): the real part
    is the token itself, and no trigonometry is left.

    Args:
        x: Tokens `(B, T, H)`, any floating dtype.
        mask: `(B, T)`, non-zero for the tokens that count; `None` counts all.
        global_energy: G^2 `(B, 1, H)`, at least float32, of the text that `x` is a part of; `None` means that `x` is
            the whole text.

    Returns:
        `(real, imag)`, both `(B, T, H)` in the dtype of `x`; the real part of a masked token is 0. G^2 - w^2 is
        computed in at least float32, and where it is 0 the gradient of `imag` is 0.

    Raises:
        ValueError: `mask` has another shape, or values below 0.
    """
    check_mask(mask, x.shape[:2])
    x = mask_tokens(x, mask)
    if global_energy is None:
        return x, ImaginaryPart.apply(x)
    return x, SquareRoot.apply(global_energy - energy(x)).to(x.dtype)


def scale_by_rms(
    x: torch.Tensor,
    mask: torch.Tensor | None = None,
    num_tokens: torch.Tensor | int | None = None,
    global_energy: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Divide each dimension of a text by its root mean square over the tokens, G / sqrt(n), unless that is 0.

    Args:
        x: Tokens `(B, T, H)`, any floating dtype, zero where masked.
        mask: `(B, T)`, non-zero for the tokens that count; `None` counts all.
        num_tokens: n, the number of real tokens of the whole text, `(B, 1, 1)` or one number for all texts; `None`
            counts those of `x`.
        global_energy: As for `token2wave`.

    Returns:
        The scaled tokens in the dtype of `x`, and their `global_energy` if `x` is a part of a text.
    """
    if num_tokens is None:
        num_tokens = x.shape[1] if mask is None else (mask != 0).sum(dim=1).clamp(min=1).view(-1, 1, 1)
    known = energy(x).sum(dim=1, keepdim=True) if global_energy is None else global_energy
    rms = SquareRoot.apply(known / num_tokens)
    rms = rms.masked_fill(rms == 0, 1.0)
    return (x / rms).to(x.dtype), None if global_energy is None else global_energy / rms.square()


# Wave operations


def wave_interference(wave: Wave, other: Wave) -> Wave:
    """Z + Z', whose energy is G^2 + G'^2 + 2 G G' cos(alpha - alpha') (arXiv:2411.02674, wave interference).

    Args:
        wave: `(real, imag)`, each `(B, T, H)`.
        other: `(real, imag)` of the same shapes.

    Returns:
        `(real, imag)`, each `(B, T, H)`.
    """
    (a, b), (c, d) = wave, other
    return a + c, b + d


class Product(torch.autograd.Function):
    """The product of two waves, given as their four parts, with fewer passes over memory than autograd would need.

    The gradient of a wave is that of the product times the conjugate of the other wave.
    """

    @staticmethod
    def forward(ctx, *parts: torch.Tensor) -> Wave:
        ctx.save_for_backward(*parts)
        a, b, c, d = parts
        return multiply((a, b), (c, d))

    @staticmethod
    def backward(ctx, grad_real: torch.Tensor, grad_imag: torch.Tensor) -> tuple[torch.Tensor, ...]:
        a, b, c, d = ctx.saved_tensors
        # (x + iy) (c - id) is (y + ix) (c + id) with its parts swapped, which avoids computing the conjugate.
        swapped = grad_imag, grad_real
        (grad_b, grad_a), (grad_d, grad_c) = multiply(swapped, (c, d)), multiply(swapped, (a, b))
        return grad_a, grad_b, grad_c, grad_d


def multiply(wave: Wave, other: Wave) -> Wave:
    """(a + ib) (c + id), without gradients."""
    (a, b), (c, d) = wave, other
    return (a * c).addcmul_(b, d, value=-1), (a * d).addcmul_(b, c)


def wave_modulation(wave: Wave, other: Wave) -> Wave:
    """Z Z' = G G' exp(i (alpha + alpha')): magnitudes multiply, phases add (arXiv:2411.02674, wave modulation).

    G G' grows with the length of a text, and in float16 it becomes infinite above 65,504: use bfloat16 or float32 for
    texts of tens of thousands of tokens, unless the weights are small.

    Args:
        wave: `(real, imag)`, each `(B, T, H)`.
        other: `(real, imag)` of the same shapes.

    Returns:
        `(real, imag)`, each `(B, T, H)`.
    """
    return Product.apply(*wave, *other)


# To add one, write its cost formula in wave_hf/analysis/complexity.py and its name in WaveConfig, too.
WAVE_OPERATIONS = {"modulation": wave_modulation, "interference": wave_interference}


# Waves to real features: the papers leave the form open


def both_parts(wave: Wave) -> torch.Tensor:
    """Return the real and the imaginary part side by side, `(B, T, 2H)`."""
    return torch.cat(wave, dim=-1)


def real_part(wave: Wave) -> torch.Tensor:
    """Return the real part, `(B, T, H)`."""
    return wave[0]


def magnitude(wave: Wave) -> torch.Tensor:
    """|Z| = sqrt(real^2 + imag^2), `(B, T, H)` in the dtype of the wave; its gradient is 0 where the wave is 0."""
    real, imag = wave
    return SquareRoot.apply(energy(real) + energy(imag)).to(real.dtype)


# To add one, do as for WAVE_OPERATIONS; `WaveMixer` maps the 2H features of both parts to H.
READOUTS = {"cartesian": both_parts, "real": real_part, "magnitude": magnitude}


def readout(wave: Wave, form: str) -> torch.Tensor:
    """Turn a wave back into real features.

    Args:
        wave: `(real, imag)`, each `(B, T, H)`.
        form: A name in `READOUTS`: `"cartesian"` for both parts side by side, `"real"` for the real part,
            `"magnitude"` for |Z|.

    Returns:
        `(B, T, 2H)` for `"cartesian"`, else `(B, T, H)`.

    Raises:
        ValueError: There is no such form.
    """
    if form not in READOUTS:
        raise ValueError(f"form is {form!r}, but should be one of {', '.join(READOUTS)}.")
    return READOUTS[form](wave)
