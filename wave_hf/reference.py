"""The papers' equations with complex tensors, slow and literal: the oracle that the tests compare the network with.

Zhang & Sheng, "Wave Network", arXiv:2411.02674, and "Token2Wave", arXiv:2411.06989. A text is a real tensor
`tokens` of shape `(..., T, H)`: T tokens w_1 .. w_T, each with H dimensions. The papers leave open what happens where
G_k = 0: there the equations divide by zero, and these functions return nan.
"""

import torch


def global_magnitude(tokens: torch.Tensor) -> torch.Tensor:
    """G_k = sqrt(sum_j w_jk^2), the one magnitude that all tokens of a text share: `(..., 1, H)`."""
    return tokens.square().sum(dim=-2, keepdim=True).sqrt()


def phase(tokens: torch.Tensor) -> torch.Tensor:
    """alpha_jk = arctan2(sqrt(1 - (w_jk / G_k)^2), w_jk / G_k), in [0, pi]: `(..., T, H)`."""
    ratio = tokens / global_magnitude(tokens)
    return torch.atan2((1 - ratio.square()).sqrt(), ratio)


def token2wave(tokens: torch.Tensor) -> torch.Tensor:
    """Z_j = G exp(i alpha_j), each token as a complex wave: `(..., T, H)`, complex."""
    return global_magnitude(tokens) * torch.exp(1j * phase(tokens))


def wave_interference(wave: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Z + Z', the sum of two waves: `(..., T, H)`, complex."""
    return wave + other


def wave_modulation(wave: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Z Z' = G G' exp(i (alpha + alpha')), the product of two waves: `(..., T, H)`, complex."""
    return wave * other
