# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Configuration of a Wave Network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

WaveOperation = Literal["modulation", "interference"]

# Written into every saved config, so that a folder or Hub repository loads with nothing but transformers.
AUTO_MAP = {
    "AutoConfig": "configuration_wave.WaveConfig",
    "AutoModel": "modeling_wave.WaveModel",
    "AutoModelForMaskedLM": "modeling_wave.WaveForMaskedLM",
    "AutoModelForMultipleChoice": "modeling_wave.WaveForMultipleChoice",
    "AutoModelForQuestionAnswering": "modeling_wave.WaveForQuestionAnswering",
    "AutoModelForSequenceClassification": "modeling_wave.WaveForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_wave.WaveForTokenClassification",
}


@strict
class WaveConfig(PreTrainedConfig):
    """The shape of a Wave Network; the defaults are the single layer of the paper (arXiv:2411.02674).

    Args:
        vocab_size: Rows of the token table.
        hidden_size: Width of the tokens, of both variants and of `last_hidden_state`.
        embedding_size: Width of the token table. When set, the table is factorised: a linear map leads from
            `embedding_size` to `hidden_size`. `None` means `hidden_size`, without that map.
        num_hidden_layers: Number of wave layers.
        wave_operation: How the waves of the two variants are combined: `"modulation"` multiplies them,
            `"interference"` adds them. A list gives every layer its own.
        readout: How a combined wave becomes real again. `"cartesian"` maps the concatenated real and imaginary parts
            back to `hidden_size`; `"real"` and `"magnitude"` keep that one part and need no parameters. Two pairs
            are legal but poor: the magnitude of a modulation is the same for all tokens of a text, and the real part
            of an interference is linear in the tokens.
        intermediate_size: Width of the feed-forward block that follows the waves. `None` means no such block.
        local_kernel_size: Odd width of a convolution that mixes neighbours into each token before the waves. Without
            it the network does not see word order. `None` means no convolution.
        local_kernel_groups: Groups of dimensions which that convolution mixes, a divisor of `hidden_size`. 1 mixes
            all of them; `None` mixes none, as each dimension is a group (depthwise).
        residual: Whether the input of each block is added to its output.
        pooling: What the heads for whole texts (classification, multiple choice) read: the `"mean"` or the `"max"`
            over the tokens, or the first token (`"cls"`).
        pair_encoding: How these heads read a pair of texts. `"joint"`: as one text. `"separate"`: each side by itself
            (token type 1 is the second side), with a global magnitude of its own, and then how they compare; best
            where it matters how alike they are.
        hidden_dropout_prob: Dropout of the embeddings and of each block's output.
        token_dropout_prob: Probability with which training removes a token (never the first) from its text. Heads
            that label tokens must then label it from the others.
        classifier_dropout: Dropout before the classifier. `None` means `hidden_dropout_prob`.
        max_position_embeddings: Rows of a learned position table. `None` means no table and no limit on the length.
        type_vocab_size: Rows of the token type table. 0 means no table; token types are then ignored.
        layer_norm_eps: Epsilon of the layer normalisations. The slope of each at a token of zeros is
            1 / sqrt(layer_norm_eps), and float16 must hold the product over the layers.
        initializer_range: Standard deviation of the initial weights.
        pad_token_id: Token whose embedding starts at zero, and stays there unless a language modelling head shares
            the token table. Padding is told by the attention mask alone.
        tie_word_embeddings: Whether a language modelling head shares the token table.
        sparse_prediction: Whether the heads that label tokens compute, in training, the logits of those alone that
            have a label: with a large vocabulary, and labels for few tokens, most of the time goes into the others.
            `torch.compile` then needs more than one graph.

    Raises:
        StrictDataclassError: A value has the wrong type or is impossible; the message names the field and, when the
            config was loaded, the file.
    """

    model_type = "wave_network"

    vocab_size: int = 30522
    hidden_size: int = 768
    embedding_size: int | None = None
    num_hidden_layers: int = 1
    wave_operation: WaveOperation | list[WaveOperation] = "modulation"
    readout: Literal["cartesian", "real", "magnitude"] = "cartesian"
    intermediate_size: int | None = None
    local_kernel_size: int | None = None
    local_kernel_groups: int | None = None
    residual: bool = False
    pooling: Literal["mean", "cls", "max"] = "mean"
    pair_encoding: Literal["joint", "separate"] = "joint"
    hidden_dropout_prob: float | int = 0.1
    token_dropout_prob: float | int = 0.0
    classifier_dropout: float | int | None = None
    max_position_embeddings: int | None = None
    type_vocab_size: int = 0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True
    sparse_prediction: bool = False

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.auto_map = dict(AUTO_MAP)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Load a config as transformers does."""
        with _naming_the_file(pretrained_model_name_or_path):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a config from its fields as transformers does; `AutoConfig` loads with this alone."""
        with _naming_the_file(kwargs.get("name_or_path")):
            return super().from_dict(config_dict, **kwargs)

    def layer_operation(self, layer_idx: int) -> str:
        """Return the wave operation of the layer with this index."""
        return self.wave_operation if isinstance(self.wave_operation, str) else self.wave_operation[layer_idx]

    def validate_sizes(self) -> None:
        """Raise ValueError unless every size is at least 1 (the token type table may be absent: 0)."""
        for name in ("vocab_size", "hidden_size", "num_hidden_layers"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("embedding_size", "intermediate_size", "max_position_embeddings"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "None or at least 1")
        _require(self.type_vocab_size >= 0, "type_vocab_size", self.type_vocab_size, "0 (no table) or more")

    def validate_wave_operation(self) -> None:
        """Raise ValueError if a list of wave operations does not hold one for each layer."""
        fits = isinstance(self.wave_operation, str) or len(self.wave_operation) == self.num_hidden_layers
        wanted = f"one operation, or a list of num_hidden_layers={self.num_hidden_layers}"
        _require(fits, "wave_operation", self.wave_operation, wanted)

    def validate_local_kernel_size(self) -> None:
        """Raise ValueError if the kernel has no centre."""
        size = self.local_kernel_size
        _require(size is None or (size >= 1 and size % 2 == 1), "local_kernel_size", size, "None or an odd number")

    def validate_local_kernel_groups(self) -> None:
        """Raise ValueError if the kernel's groups cannot be of one size."""
        groups, width = self.local_kernel_groups, self.hidden_size
        fits = groups is None or (groups >= 1 and width % groups == 0)
        _require(fits, "local_kernel_groups", groups, f"None or a divisor of hidden_size={width}")

    def validate_probabilities(self) -> None:
        """Raise ValueError unless every dropout is a probability below 1."""
        for name in ("hidden_dropout_prob", "token_dropout_prob", "classifier_dropout"):
            value = getattr(self, name)
            _require(value is None or 0 <= value < 1, name, value, "at least 0 and below 1")

    def validate_scales(self) -> None:
        """Raise ValueError unless the epsilon and the initial standard deviation are positive."""
        for name in ("layer_norm_eps", "initializer_range"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")

    def validate_pad_token_id(self) -> None:
        """Raise ValueError if the padding token has no row in the token table."""
        pad = self.pad_token_id
        wanted = f"None or a row of the token table (vocab_size={self.vocab_size})"
        _require(pad is None or 0 <= pad < self.vocab_size, "pad_token_id", pad, wanted)


@contextmanager
def _naming_the_file(folder_or_repository: str | os.PathLike | None) -> Iterator[None]:
    """Let the error of an impossible value name the file, if there is one."""
    try:
        yield
    except (StrictDataclassError, ValueError) as error:
        if folder_or_repository is None:
            raise
        reason = error.__cause__ or error
        raise StrictDataclassError(f"config.json of {folder_or_repository}: {reason}") from reason


def _require(condition: bool, name: str, value: object, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}, but should be {wanted}.")


__all__ = ["WaveConfig"]
