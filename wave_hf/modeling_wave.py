# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The Wave Network, top to bottom: the layer, the model, its losses and its heads.

Zhang & Sheng, "Wave Network: An Ultra-Small Language Model", arXiv:2411.02674, and "Token2Wave", arXiv:2411.06989. The
equations are in waves.py; this file builds the network on them. Time and memory are linear in the number of tokens.

`save_pretrained` copies this file, configuration_wave.py, waves.py and streaming.py: all that a saved model needs.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
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
from transformers.utils import TransformersKwargs, can_return_tuple, logging
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_wave import WaveConfig, check_length
from .streaming import Document, WindowedForward, tokenize_document
from .waves import (
    WAVE_OPERATIONS,
    Wave,
    check_mask,
    global_magnitude,
    mask_tokens,
    readout,
    scale_by_rms,
    side_masks,
    token2wave,
    wave_interference,
    wave_modulation,
)

logger = logging.get_logger(__name__)

# Returns the G^2 of a whole text, `(B, 1, 2H)`, given the variants of a part of it, `(B, T, 2H)`.
GlobalEnergy = Callable[[torch.Tensor], torch.Tensor]


# The layer


class WaveFeedForward(nn.Module):
    """Two linear maps with a GELU between them, applied to each token: `(B, T, H)` to `(B, T, H)`."""

    def __init__(self, hidden_size: int, intermediate_size: int):
        super().__init__()
        self.up_proj = nn.Linear(hidden_size, intermediate_size)
        self.down_proj = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(nn.functional.gelu(self.up_proj(hidden_states)))


class WaveLocalKernel(nn.Module):
    """Add a weighted sum of its neighbours to each token, `(B, T, C)` to `(B, T, C)`: it gives a layer word order.

    Masked tokens, and those before and after the text, are zeros.

    Args:
        channels: C.
        kernel_size: The number of tokens that the sum runs over, odd.
        groups: 1 mixes all channels, C mixes none (depthwise).
    """

    def __init__(self, channels: int, kernel_size: int, groups: int):
        super().__init__()
        self.convolution = nn.Conv1d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False
        )

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        hidden_states = mask_tokens(hidden_states, attention_mask)
        return hidden_states + self.convolution(hidden_states.transpose(1, 2)).transpose(1, 2)


class WaveMixer(nn.Module):
    """The wave operation: two variants of each token become waves, are combined, and are read out as real features.

    The arguments of its methods are those of `WaveLayer.forward`.
    """

    def __init__(self, config: WaveConfig, layer_idx: int = 0):
        super().__init__()
        width = 2 * config.hidden_size
        self.variants = nn.Linear(config.hidden_size, width)
        self.variant_kernel = None
        if config.variant_kernel_size:
            self.variant_kernel = WaveLocalKernel(width, config.variant_kernel_size, groups=width)
        self.scale_waves = config.scale_waves
        self.combine = WAVE_OPERATIONS[config.layer_operation(layer_idx)]
        self.readout_form = config.readout
        is_cartesian = config.readout == "cartesian"
        self.readout_proj = nn.Linear(width, config.hidden_size) if is_cartesian else nn.Identity()

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        global_energy: GlobalEnergy | None = None,
        num_tokens: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the update of the tokens, `(B, T, H)`."""
        first, second = self.variant_waves(hidden_states, attention_mask, global_energy, num_tokens)
        return self.readout_proj(readout(self.combine(first, second), self.readout_form))

    def variant_waves(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        global_energy: GlobalEnergy | None = None,
        num_tokens: torch.Tensor | int | None = None,
    ) -> tuple[Wave, Wave]:
        """Return the waves of both variants."""
        variants = self.make_variants(hidden_states, attention_mask)
        total = None if global_energy is None else global_energy(variants)
        if self.scale_waves:
            variants, total = scale_by_rms(variants, attention_mask, num_tokens, total)
        first, second = variants.chunk(2, dim=-1)
        energies = (None, None) if total is None else total.chunk(2, dim=-1)
        return token2wave(first, None, energies[0]), token2wave(second, None, energies[1])

    def make_variants(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return both variants side by side, zero at masked tokens: `(B, T, 2H)`."""
        variants = self.variants(hidden_states)
        if self.variant_kernel is not None:
            variants = self.variant_kernel(variants, attention_mask)
        # The bias and the kernel make masked tokens non-zero, so the mask comes after them.
        return mask_tokens(variants, attention_mask)


class WaveLayer(GradientCheckpointingLayer):
    """One layer: neighbours (optional), waves, feed-forward (optional), each normalised first, residual if configured.

    Only the first layer does not normalise its input: the lengths of the token vectors are the weights of the tokens
    in the global magnitude, and the network learns them.

    Args:
        config: The network's shape.
        layer_idx: Place of the layer in the network, from 0.
    """

    def __init__(self, config: WaveConfig, layer_idx: int = 0):
        super().__init__()
        width, epsilon = config.hidden_size, config.layer_norm_eps
        self.residual = config.residual
        self.norm = nn.LayerNorm(width, eps=epsilon) if layer_idx > 0 else nn.Identity()
        self.local_kernel = None
        if config.local_kernel_size:
            self.local_kernel = WaveLocalKernel(width, config.local_kernel_size, config.local_kernel_groups or width)
        self.mixer = WaveMixer(config, layer_idx)
        self.update_norm = nn.LayerNorm(width, eps=epsilon) if config.update_norm else nn.Identity()
        self.feed_forward = None
        if config.intermediate_size:
            self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
            self.feed_forward = WaveFeedForward(width, config.intermediate_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        global_energy: GlobalEnergy | None = None,
        num_tokens: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Run the layer.

        Args:
            hidden_states: `(B, T, H)`.
            attention_mask: `(B, T)`, non-zero for real tokens; `None` means that all are.
            global_energy: If the tokens are a part of a text, the function that returns the G^2 of the whole text,
                `(B, 1, 2H)` in at least float32, given both variants of these tokens side by side, `(B, T, 2H)`.
                `None` means that they are the whole text.
            num_tokens: If the tokens are a part of a text, the number of real tokens of the whole text, `(B, 1, 1)` or
                one number for all texts. Only `config.scale_waves` needs it.

        Returns:
            `(B, T, H)`.
        """
        neighbours = self.read_neighbours(hidden_states, attention_mask)
        update = self.update_norm(self.mixer(neighbours, attention_mask, global_energy, num_tokens))
        hidden_states = self.add(hidden_states, update)
        if self.feed_forward is not None:
            hidden_states = self.add(hidden_states, self.feed_forward(self.feed_forward_norm(hidden_states)))
        return hidden_states

    def read_neighbours(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the input of the mixer, `(B, T, H)`."""
        hidden_states = self.norm(hidden_states)
        return hidden_states if self.local_kernel is None else self.local_kernel(hidden_states, attention_mask)

    def add(self, hidden_states: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
        """Drop out a part of an update and, if the network is residual, add it."""
        update = self.dropout(update)
        return hidden_states + update if self.residual else update


# Tokens and pairs of texts


def is_first_token(mask: torch.Tensor) -> torch.Tensor:
    """Return where the first real token of each text is: `(B, T)` bool, all False in a row without real tokens."""
    is_real = mask != 0
    return is_real & (is_real.cumsum(dim=1) == 1)


def drop_tokens(mask: torch.Tensor, probability: float) -> torch.Tensor:
    """Remove tokens from `mask` `(B, T)` at random, but never the first of a text, so that no text loses all."""
    kept = torch.rand(mask.shape, device=mask.device) >= probability
    return mask * (kept | is_first_token(mask))


def pair_features(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return how alike two vectors `(B, H)` are in each dimension: a * b and |a - b|, `(B, 2H)`."""
    return torch.cat((first * second, (first - second).abs()), dim=-1)


# Pooling


def mean_pool(vectors: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the mean over the tokens; neither their sum nor their number needs to fit in half precision."""
    total = (vectors * counts.unsqueeze(-1)).sum(dim=1, dtype=torch.promote_types(vectors.dtype, torch.float32))
    return (total / counts.sum(dim=1, keepdim=True).clamp(min=1)).to(vectors.dtype)


def max_pool(vectors: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the largest value of each dimension."""
    is_empty = counts == 0
    highest = vectors.masked_fill(is_empty.unsqueeze(-1), torch.finfo(vectors.dtype).min).amax(dim=1)
    return highest.masked_fill(is_empty.all(dim=1, keepdim=True), 0.0)


def cls_pool(vectors: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return the first token."""
    return mask_tokens(vectors, is_first_token(counts)).sum(dim=1)


# Each reduces the vectors of N tokens, or of N pooled parts of a text, `(B, N, H)`, to one, `(B, H)`. `counts`
# `(B, N)` holds how many real tokens each vector stands for. Without real tokens, the result is zeros.
# To add one, write its cost formula in wave_hf/analysis/complexity.py and its name in WaveConfig, too.
POOLINGS = {"mean": mean_pool, "max": max_pool, "cls": cls_pool}


class WavePooler(nn.Module):
    """Reduce the real tokens of each text to one vector, zeros if there are none: `(B, T, H)` to `(B, H)`."""

    def __init__(self, config: WaveConfig):
        super().__init__()
        self.pooling = config.pooling

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        is_real = hidden_states.new_ones(hidden_states.shape[:2]) if attention_mask is None else attention_mask
        return self.pool_parts(hidden_states, is_real != 0)

    def pool_parts(self, pooled: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Pool texts whose P parts are pooled already.

        Args:
            pooled: The pooled parts, in order, `(B, P, H)`.
            counts: The number of real tokens of each part, `(B, P)`.

        Returns:
            `(B, H)`, the vectors of the whole texts.
        """
        return POOLINGS[self.pooling](pooled, counts)


# The model


class WavePreTrainedModel(PreTrainedModel):
    """Base of all Wave Networks: initialisation, saving and loading are those of transformers."""

    config: WaveConfig
    base_model_prefix = "wave"
    model_tags = ["wave-network"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["WaveLayer"]
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": WaveLayer}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, use_safetensors: bool | None = True, **kwargs):
        """Load a model as transformers does, but only from safetensors by default, as pickled weights could run code.

        Raises:
            OSError: There are no weights in safetensors, or they are truncated or damaged.
            ValueError: Weights of the network have no place in the config. `ignore_mismatched_sizes` drops them.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        kwargs |= {"use_safetensors": use_safetensors, "output_loading_info": True}
        try:
            model, info = cast(Any, super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs))
        except SafetensorError as error:
            raise OSError(
                f"The weights of {pretrained_model_name_or_path} are truncated or damaged ({error}): save the model "
                "again, or load it with force_download=True."
            ) from error
        # The weights of another head may be dropped, but not those of a layer.
        names = (name.removeprefix("wave.") for name in info["unexpected_keys"])
        unused = sorted(name for name in names if hasattr(model.base_model, name.split(".")[0]))
        if unused and not kwargs.get("ignore_mismatched_sizes"):
            raise ValueError(
                f"The config of {pretrained_model_name_or_path} has no place for these weights of the network: "
                f"{', '.join(unused)}. Correct the config, or pass ignore_mismatched_sizes=True to drop them."
            )
        return (model, info) if wants_info else model


class WaveModel(WavePreTrainedModel):
    """The Wave Network without a head: one real vector for each token, and one for each text."""

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
            position_ids: Positions of the tokens in their texts, `(B, T)` or `(1, T)`, int64; `None` counts the real
                tokens. Ignored without a position table.
            inputs_embeds: `get_input_embeddings()(input_ids)`, in place of `input_ids`: `(B, T, E)` with E the
                `embedding_size` of the config or else its `hidden_size`.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `last_hidden_state` `(B, T, H)`, meaningless at masked tokens; `pooler_output` `(B, H)`, its pooling over
            the tokens that training did not drop, normalised if `config.final_norm` is `"pooled"`; if requested,
            `hidden_states`: num_hidden_layers + 1 of `(B, T, H)`.

        Raises:
            ValueError: Not exactly one of `input_ids` and `inputs_embeds` was given, `attention_mask` has another
                shape or values below 0, or T exceeds the position table.
            IndexError: The token table has no row for one of `input_ids`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        tokens: Any = input_ids if inputs_embeds is None else inputs_embeds
        check_mask(attention_mask, tokens.shape[:2])
        if self.training and self.config.token_dropout_prob > 0:
            mask = tokens.new_ones(tokens.shape[:2]) if attention_mask is None else attention_mask
            attention_mask = drop_tokens(mask, self.config.token_dropout_prob)
        if inputs_embeds is None:
            inputs_embeds = self.look_up(input_ids, attention_mask)  # type: ignore[arg-type]
        elif attention_mask is not None:
            # Unlike a product, this also removes padding that is infinite or not a number.
            inputs_embeds = torch.where(attention_mask.unsqueeze(-1) != 0, inputs_embeds, 0.0)
        hidden_states = self.embed(inputs_embeds, attention_mask, token_type_ids, position_ids)
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask)
        hidden_states = self.norm_before_pooling(hidden_states)
        pooled = self.norm_after_pooling(self.pooler(hidden_states, attention_mask))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)

    def encode_stream(
        self, document: Document, tokenizer: PreTrainedTokenizerBase | None = None, window_size: int = 4096
    ) -> torch.Tensor:
        """Return the `pooler_output` of one text of any length in constant memory; it is that of one forward pass.

        The token ids are written to a temporary file, 4 bytes each, and read once for each layer and once for pooling.
        There is no dropout, whatever the mode of the network, which stays as it is. Unless gradients are disabled, the
        result can be differentiated: the backward pass computes each window again instead of keeping it.

        Args:
            document: The path of a text file in UTF-8; or the chunks of the text in order, as any iterable or a
                function that returns one. Chunks are strings, which are joined and may be cut anywhere, or token ids,
                which are used as they are. Pass a single string as `[text]`.
            tokenizer: The model's tokenizer, required for text. It receives the text in pieces cut before white space
                or, in long stretches without any, between its words; its special tokens are added to the whole text.
                This is exact if it splits at white space first, as BERT's does.
            window_size: The number of tokens that are computed at a time, besides those around them that local
                kernels read.

        Returns:
            `(1, H)`.

        Raises:
            ValueError: The document is empty or not UTF-8, text comes without a tokenizer or has a word of a million
                characters, `window_size` is below 1, or there are more tokens than the position table has rows.
            FileNotFoundError: The document is a string, but not the path of a file.
            TypeError: The chunks are neither text alone nor integers alone, but bytes, say.
            IndexError: The token table has no row for one of the ids.
        """
        if window_size < 1:
            raise ValueError(f"window_size is {window_size}, but should be at least 1.")
        return WindowedForward(self, tokenize_document(document, tokenizer), window_size).pool()

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
        """Add positions and token types if the network has such tables, and project to `(B, T, H)`."""
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
        """Count the real tokens of each text from 0, so that padding shifts no position: `(B, T)` or `(1, T)`."""
        check_length(self.config, tokens.shape[1])
        if attention_mask is None:
            return torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        return ((attention_mask != 0).cumsum(dim=1) - 1).clamp(min=0)

    def norm_before_pooling(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Apply the final norm to each token, `(B, T, H)`, if `config.final_norm` is `"tokens"`."""
        return self.norm(hidden_states) if self.config.final_norm == "tokens" else hidden_states

    def norm_after_pooling(self, pooled: torch.Tensor) -> torch.Tensor:
        """Apply the final norm to pooled vectors, `(B, H)`, if `config.final_norm` is `"pooled"`.

        The zeros of a text without real tokens stay zeros.
        """
        if self.config.final_norm == "tokens":
            return pooled
        return torch.where((pooled != 0).any(dim=-1, keepdim=True), self.norm(pooled), 0.0)

    def normalized_tokens(self, last_hidden_state: torch.Tensor) -> torch.Tensor:
        """Return normalised tokens `(..., H)` for a head that labels them, whatever `config.final_norm` is."""
        return last_hidden_state if self.config.final_norm == "tokens" else self.norm(last_hidden_state)

    @property
    def halo(self) -> int:
        """The receptive-field radius: how many tokens on either side of each the kernels of all layers read."""
        kernels = (self.config.local_kernel_size, self.config.variant_kernel_size)
        return len(self.layers) * sum((size or 1) // 2 for size in kernels)


# Losses


IGNORE_INDEX = -100  # the label of tokens and texts that no loss counts: a convention of torch and transformers


def check_labels(labels: torch.Tensor, shape: torch.Size, name: str = "labels") -> None:
    """Raise ValueError unless the argument `name` holds integers of this shape."""
    if labels.shape != shape or labels.is_floating_point() or labels.dtype == torch.bool:
        given = f"{labels.dtype} of the shape {tuple(labels.shape)}"
        raise ValueError(f"{name} is {given}, but should be torch.int64 of the shape {tuple(shape)}.")


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, count: torch.Tensor | int | None = None) -> torch.Tensor:
    """Return the mean cross entropy of the labels that are not -100; 0, with a gradient of 0, if all are.

    Args:
        logits: `(..., C)`, any floating dtype; the loss is computed in at least float32.
        labels: Class ids from 0 to C - 1 or -100, `(...)`, int64.
        count: What the sum is divided by, if the mean is over more batches than this one. `None` counts the labels.

    Returns:
        A scalar, at least float32.

    Raises:
        ValueError: `labels` has another shape, or holds something other than class ids.
    """
    check_labels(labels, logits.shape[:-1])
    labels = labels.to(logits.device, torch.int64).flatten()
    logits = logits.flatten(0, -2).to(torch.promote_types(logits.dtype, torch.float32))
    try:
        total = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    except IndexError as error:  # a check beforehand would make a GPU wait
        known = labels[labels != IGNORE_INDEX]
        raise ValueError(
            f"labels lie between {known.min()} and {known.max()}, but should be classes from 0 to "
            f"{logits.shape[-1] - 1}, or {IGNORE_INDEX} for none."
        ) from error
    count = (labels != IGNORE_INDEX).sum() if count is None else count
    return total / torch.as_tensor(count, device=total.device).clamp(min=1)


def classification_loss(labels: torch.Tensor, pooled_logits: torch.Tensor, config: WaveConfig) -> torch.Tensor:
    """Return the loss of texts: `cross_entropy` for one label a text, else that of transformers.

    Raises:
        ValueError: `labels` has another shape or kind than the problem needs; `config.problem_type` is then unchanged.
    """
    problem, is_boolean = config.problem_type, labels.dtype == torch.bool
    if problem is None and config.num_labels != 1 and not (labels.is_floating_point() or is_boolean):
        problem = "single_label_classification"
    if problem == "single_label_classification":
        return cross_entropy(pooled_logits, labels.flatten())
    # What does not fit must not reach transformers, which stores the problem that it infers in the config.
    is_ambiguous = problem is None and config.num_labels != 1 and is_boolean
    if is_ambiguous or labels.numel() != pooled_logits.numel():
        wanted = f"floats of the shape {tuple(pooled_logits.shape)}" + (" or class ids" if problem is None else "")
        raise ValueError(f"labels is {labels.dtype} of the shape {tuple(labels.shape)}, but should be {wanted}.")
    logits = pooled_logits.to(torch.promote_types(pooled_logits.dtype, torch.float32))
    return ForSequenceClassificationLoss(labels.to(logits).view_as(logits), logits, config)


def ignore_outside(positions: torch.Tensor, is_real: torch.Tensor, name: str) -> torch.Tensor:
    """Set positions `(B,)` to -100 unless they are those of real tokens, where `is_real` `(B, T)` is True."""
    check_labels(positions, is_real.shape[:1], name)
    positions = positions.to(is_real.device)
    places = torch.arange(is_real.shape[1], device=is_real.device)
    is_inside = (is_real & (positions.unsqueeze(-1) == places)).any(dim=-1)
    return positions.masked_fill(~is_inside, IGNORE_INDEX)


# The heads: their inputs are those of `WaveModel.forward`, unless their docstrings say otherwise


def head_dropout(config: WaveConfig) -> nn.Dropout:
    """Return the dropout of the input of a classifier."""
    return nn.Dropout(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)


class WaveTextHead(WavePreTrainedModel):
    """Base of the heads that read whole texts, or pairs of texts as `config.pair_encoding` says."""

    # The loss is a mean over the batch: Trainer itself must account for accumulation and several processes.
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
        **kwargs: Any,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...] | None]:
        """Return the logits of texts, `(B, num_logits)`, and the hidden states if requested."""
        inputs = {"input_ids": input_ids, "token_type_ids": token_type_ids, "inputs_embeds": inputs_embeds, **kwargs}
        inputs["return_dict"] = True
        tokens = inputs_embeds if input_ids is None else input_ids
        if self.is_separate and tokens is not None:  # without tokens, the model raises
            masks = side_masks(tokens, attention_mask, token_type_ids)
            outputs, second = (self.wave(attention_mask=mask, **inputs) for mask in masks)
            pooled = pair_features(outputs.pooler_output, second.pooler_output)
        else:
            outputs = self.wave(attention_mask=attention_mask, **inputs)
            pooled = outputs.pooler_output
        return self.classifier(self.dropout(pooled)), outputs.hidden_states


class WaveForSequenceClassification(WaveTextHead):
    """A Wave Network that labels whole texts: one label, several labels or a number, as `config.problem_type` says."""

    def __init__(self, config: WaveConfig):
        super().__init__(config, config.num_labels)
        self.num_labels: int = config.num_labels
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
            labels: Class ids `(B,)`, int64, for one label a text; 0 or 1 as floats `(B, num_labels)` for several;
                numbers `(B,)` or `(B, num_labels)` for regression. If given, the loss is computed: cross entropy,
                binary cross entropy and mean squared error respectively.

        Returns:
            `logits` `(B, num_labels)` and, if requested, `loss` (a scalar) and `hidden_states` (those of the first
            sides, if pairs are read separately).
        """
        logits, hidden_states = self.text_logits(input_ids, attention_mask, token_type_ids, inputs_embeds, **kwargs)
        loss = None if labels is None else self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=hidden_states)

    def classify_stream(
        self,
        document: Document,
        tokenizer: PreTrainedTokenizerBase | None = None,
        labels: torch.Tensor | None = None,
        window_size: int = 4096,
    ) -> SequenceClassifierOutput:
        """Classify one text of any length in constant memory; the logits are those of one forward pass in eval mode.

        The other arguments and the errors are those of `WaveModel.encode_stream`.

        Args:
            labels: As for `forward`, for one text. With labels, and gradients enabled, `loss.backward()` gives the
                gradients of one forward pass without dropout.

        Returns:
            `logits` `(1, num_labels)` and, if requested, `loss`.
        """
        with torch.set_grad_enabled(labels is not None and torch.is_grad_enabled()):
            pooled = self.wave.encode_stream(document, tokenizer, window_size)
            if self.is_separate:
                pooled = pair_features(pooled, torch.zeros_like(pooled))  # there is no second side
            logits = self.classifier(pooled)
        loss = None if labels is None else self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class WaveForMultipleChoice(WaveTextHead):
    """A Wave Network that chooses among texts: each gets one score, and the highest wins."""

    def __init__(self, config: WaveConfig):
        # A bias would raise the scores of all choices alike and change nothing.
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
        """Choose among C texts or pairs of texts: all inputs are `(B, C, T)` or, embedded, `(B, C, T, E)`.

        Args:
            labels: The right choices from 0 to C - 1, `(B,)`, int64. If given, the loss, cross entropy, is computed.

        Returns:
            `logits` `(B, C)` and, if requested, `loss` (a scalar) and `hidden_states`, each `(B * C, T, H)`.

        Raises:
            ValueError: `labels` has another shape, or holds something other than choices.
        """
        inputs = (input_ids, attention_mask, token_type_ids, inputs_embeds, position_ids)
        texts: Any = [None if choices is None else choices.flatten(0, 1) for choices in inputs]
        scores, hidden_states = self.text_logits(*texts[:-1], position_ids=texts[-1], **kwargs)
        tokens: Any = inputs_embeds if input_ids is None else input_ids
        logits = scores.view(tokens.shape[:2])
        loss = None if labels is None else cross_entropy(logits, labels)
        return MultipleChoiceModelOutput(loss=loss, logits=logits, hidden_states=hidden_states)


class WaveTokenHead(WavePreTrainedModel):
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
            labels: Class ids `(B, T)`, int64, or -100 for a token without a label. If given, the loss, cross entropy,
                is computed.
            **kwargs: Also `num_items_in_batch`, the number of labels that the loss is a mean over, if it is not that
                of this batch.

        Returns:
            `logits` `(B, T, C)`, meaningless at masked tokens, and, if requested, `loss` (a scalar) and
            `hidden_states`. In training with labels and `config.sparse_prediction`, the logits are those of the N
            labelled tokens, `(N, C)`.

        Raises:
            ValueError: `labels` has another shape, or holds something other than class ids.
        """
        outputs = self.wave(input_ids, attention_mask, token_type_ids, inputs_embeds, return_dict=True, **kwargs)
        hidden_states = outputs.last_hidden_state
        if self.training and self.config.sparse_prediction and labels is not None:
            check_labels(labels, hidden_states.shape[:2])
            has_label = labels != IGNORE_INDEX
            hidden_states, labels = hidden_states[has_label], labels[has_label]
        logits = self.token_logits(self.wave.normalized_tokens(hidden_states))
        loss = None if labels is None else cross_entropy(logits, labels, kwargs.get("num_items_in_batch"))
        return self.output_class(loss=loss, logits=logits, hidden_states=outputs.hidden_states)

    def token_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Map normalised tokens `(..., H)` to logits `(..., C)`."""
        raise NotImplementedError


class WaveForTokenClassification(WaveTokenHead):
    """A Wave Network that gives each token of a text one of `config.num_labels` labels."""

    output_class = TokenClassifierOutput

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        self.num_labels: int = config.num_labels
        self.dropout = head_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    def token_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(hidden_states))


class WavePredictionHead(nn.Module):
    """Map tokens to the space of the token table: `(..., H)` to `(..., E)`."""

    def __init__(self, config: WaveConfig):
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.dense = nn.Linear(config.hidden_size, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.norm(nn.functional.gelu(self.dense(hidden_states)))


class WaveForMaskedLM(WaveTokenHead):
    """A Wave Network that predicts masked tokens, to pre-train on texts without labels.

    All that a wave knows about a masked token is G, the sum over its text, and what kernels or positions add. Without
    kernels and positions, all masked tokens of a text get the same logits. The head is BERT's (arXiv:1810.04805): its
    logits are products with the rows of the token table, if `config.tie_word_embeddings`.
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
                "All [MASK] tokens of a text get the same prediction, as the network does not see where they are: set "
                "local_kernel_size or variant_kernel_size (to 3, say) or max_position_embeddings in the config."
            )

    def get_output_embeddings(self) -> nn.Module:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.decoder = new_embeddings  # type: ignore[assignment]

    def token_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.head(hidden_states))


class WaveForQuestionAnswering(WavePreTrainedModel):
    """A Wave Network that finds the answer to a question in a text: its first and its last token.

    Question and text are a pair that is read as one text, whatever `config.pair_encoding` is.
    """

    # The loss is a mean over the batch: Trainer itself must account for accumulation and several processes.
    accepts_loss_kwargs = False

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        self.wave = WaveModel(config)
        # A bias would raise the scores of all tokens alike and change nothing.
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
            start_positions: The first tokens of the answers, `(B,)`, int64. Positions outside the real tokens, such as
                those of answers that truncation removed, are ignored.
            end_positions: The last tokens, likewise. With both, the loss is computed, the mean of the two cross
                entropies.

        Returns:
            `start_logits` and `end_logits`, each `(B, T)`, the lowest number at masked tokens, and, if requested,
            `loss` (a scalar) and `hidden_states`.

        Raises:
            ValueError: The positions have another shape, or are not integers.
        """
        outputs = self.wave(input_ids, attention_mask, token_type_ids, inputs_embeds, return_dict=True, **kwargs)
        logits = self.qa_outputs(self.wave.normalized_tokens(outputs.last_hidden_state))
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
