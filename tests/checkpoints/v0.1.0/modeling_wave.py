# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The Wave Network, top to bottom: the mathematics of waves, the layer, the model and its heads.

Zhang & Sheng, "Wave Network: An Ultra-Small Language Model", arXiv:2411.02674, and "Token2Wave", arXiv:2411.06989.

A text is a tensor of tokens `(B, T, H)`. Each token becomes a complex wave with one phase of its own and a magnitude
that all tokens of the text share; two variants of every token are combined by adding (interference) or multiplying
(modulation) their waves. There is no attention: the tokens of a text meet only in the sum that makes the global
magnitude, so time and memory are linear in T. A wave is held as a pair `(real, imag)` of real tensors.

This file and the configuration beside it are all that a saved model needs; `save_pretrained` copies both.
"""

import os
import re
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.processing_utils import Unpack
from transformers.utils import CONFIG_NAME, TransformersKwargs, cached_file, can_return_tuple, logging
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_wave import WaveConfig

logger = logging.get_logger(__name__)

Wave = tuple[torch.Tensor, torch.Tensor]

# Tells the G^2 of a whole text, `(B, 1, 2H)`, from the variants of a part of it, `(B, T, 2H)`.
GlobalEnergy = Callable[[torch.Tensor], torch.Tensor]


# Waves


def mask_tokens(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Set the tokens of `x` `(B, T, H)` to zero where `mask` `(B, T)` is zero; `None` means every token is real."""
    return x if mask is None else x * (mask != 0).unsqueeze(-1)


def energy(x: torch.Tensor) -> torch.Tensor:
    """w^2, in float32 at least: squares in a half precision would ruin the differences that are taken of them."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).square()


class SquareRoot(torch.autograd.Function):
    """sqrt(x), whose gradient at 0 is 0 (the true one is infinite); what rounding put below 0 counts as 0."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        root = x.clamp(min=0).sqrt()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx, grad_output: torch.Tensor) -> torch.Tensor:
        (root,) = ctx.saved_tensors
        return torch.where(root > 0, grad_output / (2 * root), 0.0)


def square_root(x: torch.Tensor) -> torch.Tensor:
    """Apply `SquareRoot`."""
    return SquareRoot.apply(x)


def global_magnitude(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """G_k = sqrt(sum_j w_jk^2), the magnitude that all tokens of a text share: its global semantics.

    Args:
        x: Tokens `(B, T, H)`, any floating dtype.
        mask: `(B, T)`, non-zero for the tokens that count; `None` counts all.

    Returns:
        `(B, 1, H)` in the dtype of `x`.
    """
    return square_root(energy(mask_tokens(x, mask)).sum(dim=1, keepdim=True)).to(x.dtype)


class ImaginaryPart(torch.autograd.Function):
    """sqrt(G^2 - w^2) of tokens `(B, T, H)`, in fewer passes over memory than its parts would take one by one.

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
        global_energy: G^2 `(B, 1, H)`, float32 at least, of the text that `x` is a part of; `None` means that `x` is
            the whole.

    Returns:
        `(real, imag)`, both `(B, T, H)` in the dtype of `x`; a masked token has no real part. G^2 - w^2 is computed in
        float32 at least, and where it is 0 the gradient of `imag` is 0.
    """
    x = mask_tokens(x, mask)
    if global_energy is None:
        return x, ImaginaryPart.apply(x)
    return x, square_root(global_energy - energy(x)).to(x.dtype)


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
    """The product of two waves, given as their four parts, in fewer passes over memory than autograd needs.

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
        # (x + iy) (c - id) is (y + ix) (c + id) with its parts exchanged: no conjugate need be made.
        exchanged = grad_imag, grad_real
        (grad_b, grad_a), (grad_d, grad_c) = multiply(exchanged, (c, d)), multiply(exchanged, (a, b))
        return grad_a, grad_b, grad_c, grad_d


def multiply(wave: Wave, other: Wave) -> Wave:
    """(a + ib) (c + id)."""
    (a, b), (c, d) = wave, other
    return (a * c).addcmul_(b, d, value=-1), (a * d).addcmul_(b, c)


def wave_modulation(wave: Wave, other: Wave) -> Wave:
    """Z Z' = G G' exp(i (alpha + alpha')): magnitudes multiply, phases add (arXiv:2411.02674, wave modulation).

    Args:
        wave: `(real, imag)`, each `(B, T, H)`.
        other: `(real, imag)` of the same shapes.

    Returns:
        `(real, imag)`, each `(B, T, H)`.
    """
    return Product.apply(*wave, *other)


WAVE_OPERATIONS = {"interference": wave_interference, "modulation": wave_modulation}


def readout(wave: Wave, form: str) -> torch.Tensor:
    """Turn a wave back into real features; the paper leaves the form open.

    Args:
        wave: `(real, imag)`, each `(B, T, H)`.
        form: `"cartesian"` for both parts side by side, `"real"` for the real part, `"magnitude"` for |Z|.

    Returns:
        `(B, T, 2H)` for `"cartesian"`, else `(B, T, H)`.

    Raises:
        ValueError: There is no such form.
    """
    if form == "cartesian":
        return torch.cat(wave, dim=-1)
    if form == "real":
        return wave[0]
    if form == "magnitude":
        return magnitude(wave)
    raise ValueError(f"form is {form!r}, but should be 'cartesian', 'real' or 'magnitude'.")


def magnitude(wave: Wave) -> torch.Tensor:
    """|Z| = sqrt(real^2 + imag^2), `(B, T, H)` in the dtype of the wave; its gradient is 0 where the wave is 0."""
    real, imag = wave
    return square_root(energy(real) + energy(imag)).to(real.dtype)


# Tokens and texts


def drop_tokens(mask: torch.Tensor, probability: float) -> torch.Tensor:
    """Remove tokens from `mask` `(B, T)` at random, never the first of a text, so that no text loses all."""
    kept = torch.rand(mask.shape, device=mask.device) >= probability
    return mask * (kept | is_first_token(mask))


def is_first_token(mask: torch.Tensor) -> torch.Tensor:
    """Tell the first real token of each text: `(B, T)` bool, all False in a row without real tokens."""
    is_real = mask != 0
    return is_real & (is_real.cumsum(dim=1) == 1)


def pool(hidden_states: torch.Tensor, mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """Reduce the real tokens of each text to one vector.

    Args:
        hidden_states: `(B, T, H)`.
        mask: `(B, T)`, non-zero for real tokens; `None` means that all are.
        pooling: `"mean"`, `"max"` or `"cls"` (the first real token).

    Returns:
        `(B, H)`; zeros for a text without real tokens.
    """
    if mask is None:
        mask = hidden_states.new_ones(hidden_states.shape[:2])
    if pooling == "max":
        lowest = torch.finfo(hidden_states.dtype).min
        highest = hidden_states.masked_fill(mask.unsqueeze(-1) == 0, lowest).amax(dim=1)
        return highest.masked_fill((mask == 0).all(dim=1, keepdim=True), 0.0)
    counted = is_first_token(mask) if pooling == "cls" else mask != 0
    total = mask_tokens(hidden_states, counted).sum(dim=1)
    return total / counted.sum(dim=1, keepdim=True).clamp(min=1)


def pool_parts(pooled: torch.Tensor, counts: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool texts of which parts were pooled.

    Args:
        pooled: What `pool` made of P successive parts, `(B, P, H)`.
        counts: The number of real tokens in each part, `(B, P)`.
        pooling: As for `pool`.

    Returns:
        `(B, H)`, what `pool` makes of the whole texts.
    """
    if pooling == "mean":
        counts = counts.to(pooled.dtype)
        return (pooled * counts.unsqueeze(-1)).sum(dim=1) / counts.sum(dim=1, keepdim=True).clamp(min=1)
    return pool(pooled, counts, pooling)


def part_of_text(start: int, end: int, length: int, halo: int) -> tuple[slice, slice]:
    """Tell what must be read to know the tokens from `start` to `end` of a text of `length` tokens.

    Args:
        start: The first token of the part, a token of the text.
        end: One past its last; `start` if the part is empty.
        length: Tokens of the text.
        halo: `WaveModel.halo`.

    Returns:
        The tokens to read, at least one, and which of these are the part.
    """
    first = max(start - halo, 0)
    last = max(min(end + halo, length), first + 1)
    return slice(first, last), slice(start - first, end - first)


def side_masks(
    tokens: torch.Tensor, mask: torch.Tensor | None, token_type_ids: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell the two sides of each pair.

    Args:
        tokens: `(B, T)` or `(B, T, H)`, any dtype.
        mask: `(B, T)`, non-zero for real tokens; `None` means that all are.
        token_type_ids: `(B, T)`, 1 for the tokens of the second side; `None` means that there is none.

    Returns:
        The masks of the first and of the second sides, each `(B, T)`.
    """
    if mask is None:
        mask = tokens.new_ones(tokens.shape[:2])
    if token_type_ids is None:
        token_type_ids = torch.zeros_like(mask)
    return mask * (token_type_ids != 1), mask * (token_type_ids == 1)


def compare(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Tell how alike two vectors `(B, H)` are, in each dimension: a * b and |a - b|, `(B, 2H)`."""
    return torch.cat((first * second, (first - second).abs()), dim=-1)


# The network


class WaveFeedForward(nn.Module):
    """Two linear maps with a GELU between them, applied to each token: `(B, T, H)` to `(B, T, H)`."""

    def __init__(self, hidden_size: int, intermediate_size: int):
        super().__init__()
        self.up_proj = nn.Linear(hidden_size, intermediate_size)
        self.down_proj = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(nn.functional.gelu(self.up_proj(hidden_states)))


class WaveLocalKernel(nn.Module):
    """Add to each token a weighted sum of its neighbours: what gives a layer word order.

    Each dimension reads those of its own group: `groups=1` lets all read all, `groups=hidden_size` none another.
    """

    def __init__(self, hidden_size: int, kernel_size: int, groups: int):
        super().__init__()
        self.convolution = nn.Conv1d(
            hidden_size, hidden_size, kernel_size, padding=kernel_size // 2, groups=groups, bias=False
        )

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        hidden_states = mask_tokens(hidden_states, attention_mask)
        return hidden_states + self.convolution(hidden_states.transpose(1, 2)).transpose(1, 2)


class WaveMixer(nn.Module):
    """The wave operation: two variants of each token become waves, are combined, and are read out as real again."""

    def __init__(self, config: WaveConfig, layer_idx: int = 0):
        super().__init__()
        self.variants = nn.Linear(config.hidden_size, 2 * config.hidden_size)
        self.combine = WAVE_OPERATIONS[config.layer_operation(layer_idx)]
        self.readout_form = config.readout
        is_cartesian = config.readout == "cartesian"
        self.readout_proj = nn.Linear(2 * config.hidden_size, config.hidden_size) if is_cartesian else nn.Identity()

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        global_energy: GlobalEnergy | None = None,
    ) -> torch.Tensor:
        # The bias makes masked tokens non-zero, so the mask comes after it.
        variants = mask_tokens(self.variants(hidden_states), attention_mask)
        first, second = variants.chunk(2, dim=-1)
        energies = (None, None) if global_energy is None else global_energy(variants).chunk(2, dim=-1)
        wave = self.combine(token2wave(first, None, energies[0]), token2wave(second, None, energies[1]))
        return self.readout_proj(readout(wave, self.readout_form))


class WaveLayer(GradientCheckpointingLayer):
    """One layer: neighbours (optional), waves, feed-forward (optional), each normalised first and residual if wanted.

    Only the first layer reads its input as it is: the lengths of the token vectors are what the global magnitude
    weighs tokens by, and the network learns them.

    Args:
        config: The network's shape.
        layer_idx: Place of the layer in the network, from 0.
    """

    def __init__(self, config: WaveConfig, layer_idx: int = 0):
        super().__init__()
        self.residual = config.residual
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if layer_idx > 0 else nn.Identity()
        self.local_kernel = None
        if config.local_kernel_size:
            groups = config.local_kernel_groups or config.hidden_size
            self.local_kernel = WaveLocalKernel(config.hidden_size, config.local_kernel_size, groups)
        self.mixer = WaveMixer(config, layer_idx)
        self.feed_forward = None
        if config.intermediate_size:
            self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
            self.feed_forward = WaveFeedForward(config.hidden_size, config.intermediate_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        global_energy: GlobalEnergy | None = None,
    ) -> torch.Tensor:
        """Run the layer.

        Args:
            hidden_states: `(B, T, H)`.
            attention_mask: `(B, T)`, non-zero for real tokens; `None` means that all are.
            global_energy: If the tokens are a part of a text, the function that tells the G^2 of the whole,
                `(B, 1, 2H)` and float32 at least, when given the two variants of these tokens side by side,
                `(B, T, 2H)`. `None` means that they are the whole text.

        Returns:
            `(B, T, H)`.
        """
        mixed = self.mixer(self.read_neighbours(hidden_states, attention_mask), attention_mask, global_energy)
        hidden_states = self.add(hidden_states, mixed)
        if self.feed_forward is not None:
            hidden_states = self.add(hidden_states, self.feed_forward(self.feed_forward_norm(hidden_states)))
        return hidden_states

    def read_neighbours(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Prepare what the mixer reads."""
        hidden_states = self.norm(hidden_states)
        return hidden_states if self.local_kernel is None else self.local_kernel(hidden_states, attention_mask)

    def add(self, hidden_states: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
        update = self.dropout(update)
        return hidden_states + update if self.residual else update


class WavePooler(nn.Module):
    """Reduce the real tokens of each text to one vector: `(B, T, H)` to `(B, H)`."""

    def __init__(self, config: WaveConfig):
        super().__init__()
        self.pooling = config.pooling

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        return pool(hidden_states, attention_mask, self.pooling)


def find_damaged_weights(folder_or_repository: str | os.PathLike, **kwargs: Any) -> Path:
    """Return the file of weights that safetensors cannot open.

    Args:
        folder_or_repository: What `from_pretrained` was given.
        **kwargs: The arguments of `from_pretrained`, some of which tell where a repository is cached.

    Returns:
        The first such file beside the config or, if all can be opened, their folder.
    """
    places = ("cache_dir", "local_files_only", "revision", "subfolder", "token")
    options = {name: kwargs[name] for name in places if name in kwargs}
    folder = Path(str(cached_file(folder_or_repository, CONFIG_NAME, **options))).parent
    for file in sorted(folder.glob("*.safetensors")):
        try:
            safe_open(file, "pt")
        except SafetensorError:
            return file
    return folder


class WavePreTrainedModel(PreTrainedModel):
    """Base of all Wave Networks: initialisation, saving and loading are transformers' own."""

    config: WaveConfig
    base_model_prefix = "wave"
    model_tags = ["wave-network"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["WaveLayer"]
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": WaveLayer}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, use_safetensors: bool | None = True, **kwargs):
        """Load a model as transformers does, but not from pickled weights, which could run code, unless told to.

        Raises:
            OSError: There are no weights in safetensors, or they are cut off or damaged: the message names the file.
        """
        try:
            return super().from_pretrained(
                pretrained_model_name_or_path, *args, use_safetensors=use_safetensors, **kwargs
            )
        except SafetensorError as error:
            file = find_damaged_weights(pretrained_model_name_or_path, **kwargs)
            remedy = "save it again, or load it with force_download=True"
            raise OSError(f"{file} is cut off or damaged ({error}): {remedy}.") from error


class WaveModel(WavePreTrainedModel):
    """The Wave Network without a head: one real vector a token, and one a text."""

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        width = config.embedding_size or config.hidden_size
        positions, types = config.max_position_embeddings, config.type_vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.embed_positions = nn.Embedding(positions, width) if positions else None
        self.embed_token_types = nn.Embedding(types, width) if types else None
        self.embed_proj = nn.Linear(width, config.hidden_size) if config.embedding_size else nn.Identity()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList([WaveLayer(config, layer_idx) for layer_idx in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = WavePooler(config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(  # type: ignore[misc] # newer TransformersKwargs have position_ids, too
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Run the network.

        Args:
            input_ids: Token ids `(B, T)`, int64.
            attention_mask: `(B, T)`, 1 for real tokens, 0 for padding; `None` means that all are real.
            token_type_ids: Token types `(B, T)`, int64; `None` means zeros. Ignored without a token type table.
            position_ids: Places of the tokens in their texts, `(B, T)` or `(1, T)`, int64; `None` counts the real
                tokens. Ignored without a position table.
            inputs_embeds: `get_input_embeddings()(input_ids)`, in place of `input_ids`: `(B, T, E)` with E the
                `embedding_size` of the config or else its `hidden_size`.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `last_hidden_state` `(B, T, H)`, meaningless at masked tokens; `pooler_output` `(B, H)`, its pooling over
            the tokens that training did not drop; if asked for, `hidden_states`: num_hidden_layers + 1 of `(B, T, H)`.

        Raises:
            ValueError: Not exactly one of `input_ids` and `inputs_embeds` was given, or T exceeds the position table.
            IndexError: The token table has no row for one of `input_ids`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if self.training and self.config.token_dropout_prob > 0:
            tokens: Any = input_ids if inputs_embeds is None else inputs_embeds
            mask = tokens.new_ones(tokens.shape[:2]) if attention_mask is None else attention_mask
            attention_mask = drop_tokens(mask, self.config.token_dropout_prob)
        if inputs_embeds is None:
            inputs_embeds = self.look_up(input_ids, attention_mask)  # type: ignore[arg-type]
        elif attention_mask is not None:
            # Unlike a product, this also silences padding that is infinite or not a number.
            inputs_embeds = torch.where(attention_mask.unsqueeze(-1) != 0, inputs_embeds, 0.0)
        hidden_states = self.embed(inputs_embeds, attention_mask, token_type_ids, position_ids)
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask)
        hidden_states = self.norm(hidden_states)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states, pooler_output=self.pooler(hidden_states, attention_mask)
        )

    def look_up(self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the rows of the token table, zeros for masked tokens: `(B, T, E)`."""
        try:
            return mask_tokens(self.embed_tokens(input_ids), attention_mask)
        except IndexError as error:  # a check beforehand would make a GPU wait
            raise IndexError(
                f"The token ids lie between {input_ids.min()} and {input_ids.max()}, but the token table has "
                f"vocab_size={self.config.vocab_size} rows: use the tokenizer the model was trained with."
            ) from error

    def embed(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Add positions and token types, where the network has them, and widen to `(B, T, H)`."""
        if self.embed_positions is not None:
            if position_ids is None:
                position_ids = self.position_ids(inputs_embeds, attention_mask)
            inputs_embeds = inputs_embeds + self.embed_positions(position_ids)
        if self.embed_token_types is not None:
            if token_type_ids is None:
                token_type_ids = inputs_embeds.new_zeros(inputs_embeds.shape[:2], dtype=torch.long)
            inputs_embeds = inputs_embeds + self.embed_token_types(token_type_ids)
        return self.dropout(self.embed_proj(inputs_embeds))

    def position_ids(self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Count the real tokens of each text from 0, so that padding moves none: `(B, T)`."""
        length = tokens.shape[1]
        self.check_length(length)
        if attention_mask is None:
            return torch.arange(length, device=tokens.device).unsqueeze(0)
        return ((attention_mask != 0).cumsum(dim=1) - 1).clamp(min=0)

    def check_length(self, length: int) -> None:
        """Raise ValueError if the position table is too short for texts of so many tokens."""
        limit = self.config.max_position_embeddings
        if limit is not None and length > limit:
            raise ValueError(f"The texts have {length} tokens, but max_position_embeddings allows at most {limit}.")

    @property
    def halo(self) -> int:
        """How many tokens to either side of each the local kernels of all layers read."""
        return len(self.layers) * ((self.config.local_kernel_size or 1) // 2)


# Texts of any length


class TokenFile:
    """The token ids of one text, 4 bytes each, in a temporary file that goes with this object.

    Args:
        chunks: The ids in order: tensors, arrays or lists of integers.

    Raises:
        TypeError: The chunks hold other numbers.
    """

    def __init__(self, chunks: Iterable[Any]):
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 (backward reads it once more)
        weakref.finalize(self, self.file.close)
        for chunk in chunks:
            ids = torch.as_tensor(chunk).flatten()
            if ids.is_floating_point() and ids.numel():
                raise TypeError(f"document has chunks of {ids.dtype}, but should have text or integers.")
            # An id that does not fit becomes one that is in no table.
            self.file.write(ids.clamp(-1, 2**31 - 1).to("cpu", torch.int32).numpy().tobytes())
        self.length = self.file.tell() // 4

    def __getitem__(self, tokens: slice) -> torch.Tensor:
        """Return the ids `(1, T)`, int64, of the tokens from `start` to `stop`, one at least."""
        self.file.seek(4 * tokens.start)
        ids = bytearray(self.file.read(4 * (tokens.stop - tokens.start)))
        return torch.frombuffer(ids, dtype=torch.int32).long().unsqueeze(0)


def read_chunks(document: Any) -> Iterator[Any]:
    """Read a document piece by piece; see `WaveForSequenceClassification.classify_stream`."""
    if isinstance(document, str | os.PathLike):
        with open(document, encoding="utf-8") as file:
            yield from iter(partial(file.read, 2**16), "")
    else:
        yield from document() if callable(document) else document


def cut_at_white_space(chunks: Iterable[str]) -> Iterator[str]:
    """Cut a text anew so that no word is cut: white space stands before the word that follows it."""
    rest = ""
    for chunk in chunks:
        rest += chunk
        if words := re.fullmatch(r"(.+)([ \t\n\r]\S.*)", rest, re.DOTALL):
            text, rest = words.groups()
            yield text
    yield rest


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, is_special = encoded["input_ids"], encoded["special_tokens_mask"]
    return ids[: is_special.index(0)], ids[len(ids) - is_special[::-1].index(0) :]


def tokenize_document(document: Any, tokenizer: PreTrainedTokenizerBase | None = None) -> TokenFile:
    """Store the token ids of a document; see `WaveForSequenceClassification.classify_stream`."""
    chunks = read_chunks(document)
    first: Any = next(chunks, [])
    chunks = chain([first], chunks)
    before: list[int] = []
    after: list[int] = []
    if isinstance(first, str):
        if tokenizer is None:
            raise ValueError("tokenizer is None, but should be the model's own to read a document of text.")
        before, after = special_tokens(tokenizer)
        texts = cut_at_white_space(chunks)
        chunks = (tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts)
    tokens = TokenFile(chain([before], chunks, [after]))
    if tokens.length == len(before) + len(after):
        raise ValueError("document is empty, but should have one token at least.")
    return tokens


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Run a module without dropout, and leave it in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


class WaveStream:
    """A text that the network reads window by window, in eval mode and in memory that does not grow with its length.

    The tokens of a text meet only in sums over all of them. So each layer takes one pass over the text to add up its
    G^2, for which the layers before it, whose G^2 is known by then, are computed anew; the last pass pools. Backward,
    if it is asked for, computes each window once more instead of keeping it.

    Args:
        model: The network.
        tokens: The text.
        window_size: Tokens that are computed at a time.
    """

    def __init__(self, model: WaveModel, tokens: TokenFile, window_size: int):
        model.check_length(tokens.length)
        self.model = model
        self.tokens = tokens
        self.window_size = window_size

    def pool(self) -> torch.Tensor:
        """Return the `pooler_output` of the whole text, `(1, H)`, in float64 on the CPU."""
        energies: tuple[torch.Tensor, ...] = ()
        for _ in self.model.layers:
            total = torch.zeros(())
            for part, _ in self.read(self.next_energy, energies):
                total = total + part
            energies += (total,)
        pooled, count = torch.zeros(1, self.model.config.hidden_size, dtype=torch.float64), 0
        for part, size in self.read(self.pool_part, energies):
            counts = torch.tensor([[count, size]])
            pooled = pool_parts(torch.stack((pooled, part), dim=1), counts, self.model.config.pooling)
            count += size
        return pooled

    def read(self, function: Callable, energies: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, int]]:
        """Yield what `function` makes of each window, in float64 on the CPU, and the tokens of that window."""
        length, halo = self.tokens.length, self.model.halo
        for start in range(0, length, self.window_size):
            end = min(start + self.window_size, length)
            window = part_of_text(start, end, length, halo)
            # The reentrant form leaves one node a window behind instead of a graph, and needs one input with gradient.
            anchor = torch.zeros((), requires_grad=True)
            part = checkpoint(function, *window, anchor, *energies, use_reentrant=True, preserve_rng_state=False)
            yield part.to("cpu", torch.float64), end - start

    def next_energy(self, read: slice, own: slice, _: torch.Tensor, *energies: torch.Tensor) -> torch.Tensor:
        """Return a window's share of the G^2 of the first layer whose G^2 is not known, `(1, 1, 2H)`."""
        with eval_mode(self.model):
            layer: Any = self.model.layers[len(energies)]
            variants = layer.mixer.variants(layer.read_neighbours(self.hidden_states(read, energies)))
            return energy(variants[:, own]).sum(dim=1, keepdim=True)

    def pool_part(self, read: slice, own: slice, _: torch.Tensor, *energies: torch.Tensor) -> torch.Tensor:
        """Pool the tokens of a window, `(1, H)`, once the G^2 of all layers are known."""
        with eval_mode(self.model):
            return self.model.pooler(self.model.norm(self.hidden_states(read, energies))[:, own])

    def hidden_states(self, read: slice, energies: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Run the layers whose G^2 is known over the tokens to `read`."""
        device = self.model.device
        position_ids = torch.arange(read.start, read.stop, device=device).unsqueeze(0)
        hidden_states = self.model.look_up(self.tokens[read].to(device))  # type: ignore[arg-type]
        hidden_states = self.model.embed(hidden_states, position_ids=position_ids)
        for layer, known in zip(self.model.layers, energies, strict=False):
            hidden_states = layer(hidden_states, None, partial(in_precision_of, known))
        return hidden_states


def in_precision_of(global_energy: torch.Tensor, variants: torch.Tensor) -> torch.Tensor:
    """Return a G^2 as `token2wave` wants it for these variants."""
    return global_energy.to(variants.device, torch.promote_types(variants.dtype, torch.float32))


# The heads


IGNORED = -100  # the label of what counts for no loss, to torch, transformers and the collators alike


def check_labels(labels: torch.Tensor, shape: torch.Size, name: str = "labels") -> None:
    """Raise ValueError unless the argument `name` holds integers of this shape."""
    if labels.shape != shape or labels.is_floating_point():
        given = f"{labels.dtype} of the shape {tuple(labels.shape)}"
        raise ValueError(f"{name} is {given}, but should be torch.int64 of the shape {tuple(shape)}.")


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, count: torch.Tensor | int | None = None) -> torch.Tensor:
    """Mean cross entropy of the labels that are not -100; 0, with a gradient of 0, if all are.

    Args:
        logits: `(..., C)`, any floating dtype; the loss is computed in float32 at least.
        labels: Class ids from 0 to C - 1 or -100, `(...)`, int64.
        count: What the sum is divided by, if the mean is one over more batches than this. `None` counts the labels.

    Returns:
        A scalar, float32 at least.

    Raises:
        ValueError: `labels` has another shape, or holds something other than class ids.
    """
    check_labels(labels, logits.shape[:-1])
    labels = labels.to(logits.device, torch.int64).flatten()
    logits = logits.flatten(0, -2).to(torch.promote_types(logits.dtype, torch.float32))
    try:
        total = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    except IndexError as error:  # a check beforehand would make a GPU wait
        known = labels[labels != IGNORED]
        raise ValueError(
            f"labels lie between {known.min()} and {known.max()}, but should be classes from 0 to "
            f"{logits.shape[-1] - 1}, or {IGNORED} for none."
        ) from error
    if count is None:
        count = (labels != IGNORED).sum()
    return total / torch.as_tensor(count, device=total.device).clamp(min=1)


def ignore_outside(positions: torch.Tensor, is_real: torch.Tensor, name: str) -> torch.Tensor:
    """Set positions `(B,)` to -100 unless a real token, one that `is_real` `(B, T)` is true for, stands there."""
    check_labels(positions, is_real.shape[:1], name)
    positions = positions.to(is_real.device)
    places = torch.arange(is_real.shape[1], device=is_real.device)
    is_inside = (is_real & (positions.unsqueeze(-1) == places)).any(dim=-1)
    return positions.masked_fill(~is_inside, IGNORED)


def classification_loss(labels: torch.Tensor, pooled_logits: torch.Tensor, config: WaveConfig) -> torch.Tensor:
    """The loss of texts: `cross_entropy` for one label a text, else transformers' own."""
    problem = config.problem_type
    if problem is None and config.num_labels != 1 and labels.dtype in (torch.int64, torch.int32):
        problem = "single_label_classification"
    if problem == "single_label_classification":
        return cross_entropy(pooled_logits, labels.flatten())
    return ForSequenceClassificationLoss(labels, pooled_logits, config)


def head_dropout(config: WaveConfig) -> nn.Dropout:
    """Return the dropout of what a classifier reads."""
    return nn.Dropout(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)


class WaveForTexts(WavePreTrainedModel):
    """Base of the heads that read whole texts, or pairs of them as `config.pair_encoding` says."""

    # The loss is a mean over the batch at hand: Trainer itself must account for accumulation and several processes.
    accepts_loss_kwargs = False

    def __init__(self, config: WaveConfig, num_logits: int, bias: bool = True):
        super().__init__(config)
        self.is_separate = config.pair_encoding == "separate"
        self.wave = WaveModel(config)
        self.dropout = head_dropout(config)
        width = config.hidden_size * (2 if self.is_separate else 1)
        self.classifier = nn.Linear(width, num_logits, bias=bias)
        self.post_init()

    def text_logits(
        self,
        input_ids: torch.LongTensor | None,
        attention_mask: torch.Tensor | None,
        token_type_ids: torch.LongTensor | None,
        inputs_embeds: torch.Tensor | None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...] | None]:
        """Return the logits of texts, `(B, num_logits)`, and the hidden states if asked for."""
        inputs = {"input_ids": input_ids, "inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids, **kwargs}
        tokens = inputs_embeds if input_ids is None else input_ids
        if self.is_separate and tokens is not None:  # without tokens, the network says what is missing
            masks = side_masks(tokens, attention_mask, token_type_ids)
            outputs, second = (self.wave(attention_mask=mask, **inputs) for mask in masks)
            pooled = compare(outputs.pooler_output, second.pooler_output)
        else:
            outputs = self.wave(attention_mask=attention_mask, **inputs)
            pooled = outputs.pooler_output
        return self.classifier(self.dropout(pooled)), outputs.hidden_states


class WaveForSequenceClassification(WaveForTexts):
    """A Wave Network that labels whole texts: one label, several labels or a number, as `config.problem_type` says."""

    def __init__(self, config: WaveConfig):
        super().__init__(config, config.num_labels)  # type: ignore[arg-type]
        self.num_labels: int = config.num_labels  # type: ignore[assignment]
        self.loss_function = classification_loss

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Classify texts.

        Args:
            input_ids: See `WaveModel.forward`, as for the next three.
            attention_mask: `(B, T)`.
            token_type_ids: `(B, T)`.
            inputs_embeds: `(B, T, E)`.
            labels: Class ids `(B,)`, int64, for one label a text; 0 or 1 as floats `(B, num_labels)` for several;
                numbers `(B,)` or `(B, num_labels)` for regression. When given, the loss is computed: cross entropy,
                binary cross entropy and mean squared error respectively.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `logits` `(B, num_labels)` and, if asked for, `loss` (a scalar) and `hidden_states` (those of the first
            sides, if pairs are read separately).
        """
        logits, hidden_states = self.text_logits(input_ids, attention_mask, token_type_ids, inputs_embeds, **kwargs)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=hidden_states)

    def classify_stream(
        self,
        document: str | os.PathLike | Iterable | Callable[[], Iterable],
        tokenizer: PreTrainedTokenizerBase | None = None,
        labels: torch.Tensor | None = None,
        window_size: int = 4096,
    ) -> SequenceClassifierOutput:
        """Classify one text of any length in constant memory, exactly: the logits are those of one forward pass.

        The token ids are written to a temporary file, 4 bytes each, and read once a layer and once more for pooling.
        The network is in eval mode meanwhile. With `labels` and gradients enabled, `loss.backward()` gives the
        gradients of one forward pass without dropout; it computes each window anew instead of keeping it.

        Args:
            document: The path of a text file in UTF-8; or the chunks of the text in order, as any iterable or a
                function that returns one. Chunks are strings, which are put together and may be cut anywhere, or
                token ids, which are used as they are. A text at hand is `[text]`.
            tokenizer: The model's tokenizer, which text needs. It is given the text in pieces cut before white space,
                and its special tokens are added to the whole: exact if it splits at white space first, as BERT's does.
            labels: As for `forward`, for one text.
            window_size: Tokens that are computed at a time, beside those that local kernels read around them.

        Returns:
            `logits` `(1, num_labels)` and, if asked for, `loss`.

        Raises:
            ValueError: The document is empty, text comes without a tokenizer, `window_size` is below 1, or there are
                more tokens than the position table has rows.
            TypeError: A chunk is neither text nor integers.
            IndexError: The token table has no row for one of the ids.
        """
        if window_size < 1:
            raise ValueError(f"window_size is {window_size}, but should be at least 1.")
        tokens = tokenize_document(document, tokenizer)
        with torch.set_grad_enabled(labels is not None and torch.is_grad_enabled()):
            pooled = WaveStream(self.wave, tokens, window_size).pool().to(self.device, self.dtype)
            if self.is_separate:
                pooled = compare(pooled, torch.zeros_like(pooled))  # there is no second side
            logits = self.classifier(pooled)
            loss = None
            if labels is not None:
                loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class WaveForMultipleChoice(WaveForTexts):
    """A Wave Network that chooses among texts: each gets one score, and the highest wins."""

    def __init__(self, config: WaveConfig):
        # A bias would raise the scores of all choices alike, and change nothing.
        super().__init__(config, 1, bias=False)

    @can_return_tuple
    def forward(  # type: ignore[misc] # newer TransformersKwargs have position_ids, too
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MultipleChoiceModelOutput:
        """Choose among C texts or pairs of texts.

        Args:
            input_ids: `(B, C, T)`; else see `WaveModel.forward`, as for the next four.
            attention_mask: `(B, C, T)`.
            token_type_ids: `(B, C, T)`.
            inputs_embeds: `(B, C, T, E)`.
            position_ids: `(B, C, T)`.
            labels: The right choices from 0 to C - 1, `(B,)`, int64. When given, the loss, cross entropy, is computed.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `logits` `(B, C)` and, if asked for, `loss` (a scalar) and `hidden_states`, each `(B * C, T, H)`.

        Raises:
            ValueError: `labels` has another shape, or is no choice.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "inputs_embeds": inputs_embeds,
            "position_ids": position_ids,
        }
        texts: Any = {name: None if choices is None else choices.flatten(0, 1) for name, choices in inputs.items()}
        scores, hidden_states = self.text_logits(**texts, **kwargs)
        tokens: Any = inputs_embeds if input_ids is None else input_ids
        logits = scores.view(tokens.shape[:2])
        loss = None if labels is None else cross_entropy(logits, labels)
        return MultipleChoiceModelOutput(loss=loss, logits=logits, hidden_states=hidden_states)


class WaveForTokens(WavePreTrainedModel):
    """Base of the heads that choose one label for each token."""

    # The loss is divided by the number of labels that Trainer counts in all batches of a step.
    accepts_loss_kwargs = True
    output_class: type[ModelOutput]

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        self.wave = WaveModel(config)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Any:
        """Label tokens.

        Args:
            input_ids: See `WaveModel.forward`, as for the next three.
            attention_mask: `(B, T)`.
            token_type_ids: `(B, T)`.
            inputs_embeds: `(B, T, E)`.
            labels: Class ids `(B, T)`, int64, or -100 for a token without a label. When given, the loss, cross
                entropy, is computed.
            **kwargs: `output_hidden_states`, `return_dict`; `num_items_in_batch`, the number of labels that the loss
                is a mean over, if not those of this batch.

        Returns:
            `logits` `(B, T, C)`, meaningless at masked tokens, and, if asked for, `loss` (a scalar) and
            `hidden_states`. In training with labels and `config.sparse_prediction`, the logits are those of the N
            tokens with a label, `(N, C)`.

        Raises:
            ValueError: `labels` has another shape, or holds something other than class ids.
        """
        outputs = self.wave(input_ids, attention_mask, token_type_ids, inputs_embeds, **kwargs)
        hidden_states = outputs.last_hidden_state
        if self.training and self.config.sparse_prediction and labels is not None:
            check_labels(labels, hidden_states.shape[:2])
            has_label = labels != IGNORED
            hidden_states, labels = hidden_states[has_label], labels[has_label]
        logits = self.token_logits(hidden_states)
        loss = None if labels is None else cross_entropy(logits, labels, kwargs.get("num_items_in_batch"))
        return self.output_class(loss=loss, logits=logits, hidden_states=outputs.hidden_states)

    def token_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map hidden states `(..., H)` to logits `(..., C)`."""
        raise NotImplementedError


class WaveForTokenClassification(WaveForTokens):
    """A Wave Network that gives each token of a text one of `config.num_labels` labels."""

    output_class = TokenClassifierOutput

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        self.num_labels: int = config.num_labels  # type: ignore[assignment]
        self.dropout = head_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    def token_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(hidden_states))


class WavePredictionHead(nn.Module):
    """What leads from hidden states to the space of the token table: `(..., H)` to `(..., E)`."""

    def __init__(self, config: WaveConfig):
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.dense = nn.Linear(config.hidden_size, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.norm(nn.functional.gelu(self.dense(hidden_states)))


class WaveForMaskedLM(WaveForTokens):
    """A Wave Network that tells which tokens stood where [MASK] stands now: it learns from texts without labels.

    What a wave can know of a masked token is the sum over its text, G, and what a local kernel or positions tell of
    its place. Without these two, all masked tokens of a text get the same logits. The head is BERT's
    (arXiv:1810.04805): its logits are products with the rows of the token table, if `config.tie_word_embeddings`.
    """

    output_class = MaskedLMOutput
    _tied_weights_keys = {"decoder.weight": "wave.embed_tokens.weight"}

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        self.head = WavePredictionHead(config)
        self.decoder = nn.Linear(self.wave.embed_tokens.embedding_dim, config.vocab_size)
        self.post_init()
        if self.wave.halo == 0 and self.wave.embed_positions is None:
            logger.warning_once(
                "All [MASK] of a text will get the same prediction, since nothing tells the network their places: set "
                "local_kernel_size (3, say), or max_position_embeddings, in the config."
            )

    def get_output_embeddings(self) -> nn.Module:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.decoder = new_embeddings  # type: ignore[assignment]

    def token_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.head(hidden_states))


class WaveForQuestionAnswering(WavePreTrainedModel):
    """A Wave Network that finds the answer to a question in a text: its first and its last token.

    The question and the text are a pair, read as one text whatever `config.pair_encoding` says.
    """

    # The loss is a mean over the batch at hand: Trainer itself must account for accumulation and several processes.
    accepts_loss_kwargs = False

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        self.wave = WaveModel(config)
        # A bias would raise the scores of all tokens alike, and change nothing.
        self.qa_outputs = nn.Linear(config.hidden_size, 2, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        start_positions: torch.Tensor | None = None,
        end_positions: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> QuestionAnsweringModelOutput:
        """Score each token as the first and as the last one of the answer.

        Args:
            input_ids: See `WaveModel.forward`, as for the next three.
            attention_mask: `(B, T)`.
            token_type_ids: `(B, T)`.
            inputs_embeds: `(B, T, E)`.
            start_positions: Where the answers start, `(B,)`, int64. What is no place of a real token, as where
                truncation took it away, is ignored.
            end_positions: Their last tokens, likewise. With both, the loss is computed, the mean of the two cross
                entropies.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `start_logits` and `end_logits`, each `(B, T)`, the lowest number at masked tokens, and, if asked for,
            `loss` (a scalar) and `hidden_states`.

        Raises:
            ValueError: The positions have another shape, or are not integers.
        """
        outputs = self.wave(input_ids, attention_mask, token_type_ids, inputs_embeds, **kwargs)
        logits = self.qa_outputs(outputs.last_hidden_state)
        is_real = torch.ones_like(logits[..., 0], dtype=torch.bool) if attention_mask is None else attention_mask != 0
        logits = logits.masked_fill(~is_real.unsqueeze(-1), torch.finfo(logits.dtype).min)
        start_logits, end_logits = logits.unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            starts = ignore_outside(start_positions, is_real, "start_positions")
            ends = ignore_outside(end_positions, is_real, "end_positions")
            loss = (cross_entropy(start_logits, starts) + cross_entropy(end_logits, ends)) / 2
        return QuestionAnsweringModelOutput(
            loss=loss, start_logits=start_logits, end_logits=end_logits, hidden_states=outputs.hidden_states
        )


__all__ = [
    "WaveForMaskedLM",
    "WaveForMultipleChoice",
    "WaveForQuestionAnswering",
    "WaveForSequenceClassification",
    "WaveForTokenClassification",
    "WaveLayer",
    "WaveModel",
    "WavePreTrainedModel",
    "global_magnitude",
    "readout",
    "token2wave",
    "wave_interference",
    "wave_modulation",
]
