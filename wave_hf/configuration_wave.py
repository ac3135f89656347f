# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Configuration of a Wave Network."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

# The model, its heads, and the Auto class that loads each.
MODEL_CLASSES = {
    "AutoModel": "WaveModel",
    "AutoModelForMaskedLM": "WaveForMaskedLM",
    "AutoModelForMultipleChoice": "WaveForMultipleChoice",
    "AutoModelForQuestionAnswering": "WaveForQuestionAnswering",
    "AutoModelForSequenceClassification": "WaveForSequenceClassification",
    "AutoModelForTokenClassification": "WaveForTokenClassification",
}

# Written into every saved config, so that with only transformers installed, trust_remote_code=True loads the model.
AUTO_MAP = {"AutoConfig": "configuration_wave.WaveConfig"} | {
    auto_class: f"modeling_wave.{model_class}" for auto_class, model_class in MODEL_CLASSES.items()
}

# The names in WAVE_OPERATIONS and READOUTS of waves.py, and in POOLINGS of modeling_wave.py.
WaveOperation = Literal["modulation", "interference"]
Readout = Literal["cartesian", "real", "magnitude"]
Pooling = Literal["mean", "cls", "max"]

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]

# More than any real network has. What is built one by one would take for ever, and larger weights overflow.
MAX_LAYERS = 10_000
MAX_LABELS = 5_000_000
MAX_SIZE = 2**31 - 1
MAX_DEVIATION = 1_000

# The settings of a network that folds; see `WaveConfig.folding_obstacle`.
FOLDING_SETTINGS = {
    "num_hidden_layers": 1,
    "pooling": "mean",
    "final_norm": "pooled",
    "local_kernel_size": None,
    "update_norm": False,
    "intermediate_size": None,
    "max_position_embeddings": None,
}


@strict
class WaveConfig(PreTrainedConfig):
    """The shape of a Wave Network; the defaults are the single layer of the paper (arXiv:2411.02674).

    Args:
        vocab_size: Number of rows of the token table.
        hidden_size: Width of the tokens, of both variants and of `last_hidden_state`.
        embedding_size: Width of the token table. If set, the table is factorised: a linear map leads from
            `embedding_size` to `hidden_size`. `None` means `hidden_size` and no such map.
        num_hidden_layers: Number of wave layers.
        wave_operation: How the waves of the two variants are combined: `"modulation"` multiplies them,
            `"interference"` adds them. A list sets the operation of each layer. A modulation grows with the length of
            a text: float16 cannot hold it for tens of thousands of tokens and becomes infinite, bfloat16 can.
        readout: How a combined wave becomes real again. `"cartesian"` maps the concatenated real and imaginary parts
            back to `hidden_size`; `"real"` and `"magnitude"` keep only that part and need no parameters. Two
            combinations are allowed but poor: the magnitude of a modulation is the same for all tokens of a text, and
            the real part of an interference is linear in the tokens.
        intermediate_size: Width of the feed-forward block after the waves. `None` means no such block.
        local_kernel_size: Odd width of a convolution that adds neighbours to each token before the variants. `None`
            means no convolution; without one, and without positions, the network does not see word order.
        local_kernel_groups: Groups of that convolution, a divisor of `hidden_size`: 1 mixes all dimensions, `None`
            mixes none (depthwise).
        variant_kernel_size: Odd width of a depthwise convolution that adds neighbours to the two variants of each
            token. Like `local_kernel_size` it gives the network word order, and it does not prevent folding (see
            `folding_obstacle`). `None` means no convolution.
        scale_waves: Whether each dimension of a variant is divided by its root mean square over the text, which is
            G / sqrt(n) for n tokens. All waves then have the magnitude sqrt(n), whatever the scale of the variants.
            Half precision cannot resolve how tokens differ in waves of one magnitude: train in float32.
        update_norm: Whether the result of each wave operation is layer-normalised before it is used as the update.
        residual: Whether each block adds its update to its input, or replaces the input by it.
        final_norm: Where the final layer normalisation is applied: to each token before the pooling (`"tokens"`), or
            once to the pooled vector (`"pooled"`), so that longer token vectors weigh more in the mean. With
            `"pooled"`, `last_hidden_state` is not normalised; heads that label tokens normalise it themselves.
        pooling: What heads for whole texts (classification, multiple choice) read: the `"mean"` or the `"max"` over
            the tokens, or the first token (`"cls"`).
        pair_encoding: How these heads read a pair of texts: `"joint"` as one text; `"separate"` each side by itself
            (token type 1 is the second side) with a global magnitude of its own, followed by a comparison of the two,
            which is best for tasks about similarity.
        hidden_dropout_prob: Dropout of the embeddings and of each block's update.
        token_dropout_prob: Probability with which training removes a token, but never the first, from its text. Heads
            that label tokens must predict removed tokens from their context.
        classifier_dropout: Dropout before the classifier. `None` means `hidden_dropout_prob`.
        max_position_embeddings: Number of rows of a learned position table. `None` means no table and no limit on the
            length.
        type_vocab_size: Number of rows of the token type table. 0 means no table; token types are then ignored.
        layer_norm_eps: Epsilon of the layer normalisations. The gradient of each at a token of zeros is multiplied by
            1 / sqrt(layer_norm_eps), and float16 must be able to hold the product over the layers: set 1e-3 to train
            in float16 with `update_norm`.
        initializer_range: Standard deviation of the initial weights.
        pad_token_id: Token whose embedding starts at zero, and stays there unless a language modelling head shares
            the token table. Padding is known from the attention mask alone.
        tie_word_embeddings: Whether a language modelling head shares the token table.
        sparse_prediction: Whether heads that label tokens compute only the logits of labelled tokens in training,
            which saves most of the time where the vocabulary is large and labels are few. `torch.compile` then needs
            more than one graph.
        problem_type: What the labels of whole texts are: `"single_label_classification"`,
            `"multi_label_classification"` or `"regression"`. `None` infers it from the labels.

    Raises:
        StrictDataclassError: A value has the wrong type or is impossible. The message names the field and, if the
            config was loaded, the file.
    """

    model_type = "wave_network"

    vocab_size: int = 30522
    hidden_size: int = 768
    embedding_size: int | None = None
    num_hidden_layers: int = 1
    wave_operation: WaveOperation | list[WaveOperation] = "modulation"
    readout: Readout = "cartesian"
    intermediate_size: int | None = None
    local_kernel_size: int | None = None
    local_kernel_groups: int | None = None
    variant_kernel_size: int | None = None
    scale_waves: bool = False
    update_norm: bool = False
    residual: bool = False
    final_norm: Literal["tokens", "pooled"] = "tokens"
    pooling: Pooling = "mean"
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
    problem_type: ProblemType | None = None  # transformers' own field, whose value it does not check

    def __post_init__(self, **kwargs):
        for name in ("id2label", "label2id"):  # transformers reads them before any check
            labels = getattr(self, name)
            _require(labels is None or isinstance(labels, dict), name, labels, "None or a dict")
        super().__post_init__(**kwargs)
        self.auto_map = dict(AUTO_MAP)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Load a config as transformers does; an impossible value raises an error that names the file."""
        with _name_the_file(pretrained_model_name_or_path):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a config from a dict as transformers does; `AutoConfig` calls this instead of `from_pretrained`."""
        with _name_the_file(kwargs.get("name_or_path")):
            return super().from_dict(config_dict, **kwargs)

    @PreTrainedConfig.num_labels.setter  # type: ignore[attr-defined]
    def num_labels(self, num_labels: int) -> None:
        """Set `id2label` to this number of unnamed labels."""
        fits = isinstance(num_labels, int) and num_labels <= MAX_LABELS
        _require(fits, "num_labels", num_labels, f"an integer of at most {MAX_LABELS:,}")
        PreTrainedConfig.num_labels.fset(self, num_labels)  # type: ignore[attr-defined]

    def layer_operation(self, layer_idx: int) -> str:
        """Return the wave operation of the layer with this index."""
        return self.wave_operation if isinstance(self.wave_operation, str) else self.wave_operation[layer_idx]

    @property
    def folds(self) -> bool:
        """Whether the network can run without a matrix product per token; see `folding_obstacle`."""
        return self.folding_obstacle is None

    @property
    def folding_obstacle(self) -> str | None:
        """One sentence about a setting that prevents folding, or `None` if the network folds.

        To fold a network is to apply the linear map to the variants to the token table, once and for all, and the
        linear map after the waves to the pooled waves, once for each text. A token then costs a table look-up.
        """
        for name, wanted in FOLDING_SETTINGS.items():
            value = getattr(self, name)
            if value != wanted:
                return f"{name} is {value!r}, but a network folds only with {name}={wanted!r}."
        return None

    def validate_sizes(self) -> None:
        """Raise ValueError unless every size is at least 1 (the token type table may be absent: 0) and possible."""
        for name, limit in {"vocab_size": MAX_SIZE, "hidden_size": MAX_SIZE, "num_hidden_layers": MAX_LAYERS}.items():
            value = getattr(self, name)
            _require(1 <= value <= limit, name, value, f"at least 1 and at most {limit:,}")
        for name in ("embedding_size", "intermediate_size", "max_position_embeddings"):
            value = getattr(self, name)
            _require(
                value is None or 1 <= value <= MAX_SIZE, name, value, f"None or at least 1 and at most {MAX_SIZE:,}"
            )
        types = self.type_vocab_size
        _require(0 <= types <= MAX_SIZE, "type_vocab_size", types, f"0 (no table) or more and at most {MAX_SIZE:,}")

    def validate_wave_operation(self) -> None:
        """Raise ValueError if a list of wave operations has not one for each layer."""
        fits = isinstance(self.wave_operation, str) or len(self.wave_operation) == self.num_hidden_layers
        wanted = f"one operation, or a list of num_hidden_layers={self.num_hidden_layers}"
        _require(fits, "wave_operation", self.wave_operation, wanted)

    def validate_kernel_sizes(self) -> None:
        """Raise ValueError if a kernel has no centre."""
        for name in ("local_kernel_size", "variant_kernel_size"):
            size = getattr(self, name)
            fits = size is None or (1 <= size <= MAX_SIZE and size % 2 == 1)
            _require(fits, name, size, f"None or an odd number of at most {MAX_SIZE:,}")

    def validate_local_kernel_groups(self) -> None:
        """Raise ValueError if the dimensions cannot be divided into that number of groups."""
        groups, width = self.local_kernel_groups, self.hidden_size
        fits = groups is None or (groups >= 1 and width % groups == 0)
        _require(fits, "local_kernel_groups", groups, f"None or a divisor of hidden_size={width}")

    def validate_scale_waves(self) -> None:
        """Raise ValueError if the features of a text would depend on its length alone."""
        is_constant = self.readout == "magnitude" and "modulation" in self.wave_operation
        wanted = "False if readout='magnitude' reads a modulation, whose scaled magnitude is the number of tokens"
        _require(not (self.scale_waves and is_constant), "scale_waves", self.scale_waves, wanted)

    def validate_probabilities(self) -> None:
        """Raise ValueError unless every dropout is a probability below 1."""
        for name in ("hidden_dropout_prob", "token_dropout_prob", "classifier_dropout"):
            value = getattr(self, name)
            _require(value is None or 0 <= value < 1, name, value, "at least 0 and below 1")

    def validate_scales(self) -> None:
        """Raise ValueError unless the epsilon and the initial standard deviation are positive and possible."""
        for name in ("layer_norm_eps", "initializer_range"):
            _require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "above 0 and finite")
        deviation = self.initializer_range
        _require(deviation <= MAX_DEVIATION, "initializer_range", deviation, f"at most {MAX_DEVIATION:,}")

    def validate_pad_token_id(self) -> None:
        """Raise ValueError if the padding token has no row in the token table."""
        pad = self.pad_token_id
        wanted = f"None or a row of the token table (vocab_size={self.vocab_size})"
        _require(pad is None or 0 <= pad < self.vocab_size, "pad_token_id", pad, wanted)


def check_length(config: PreTrainedConfig, length: int) -> None:
    """Raise ValueError if the position table of a network, if it has one, is too short for this number of tokens."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and length > limit:
        raise ValueError(f"The texts have {length} tokens, but max_position_embeddings allows at most {limit}.")


@contextmanager
def _name_the_file(folder_or_repository: str | os.PathLike | None) -> Iterator[None]:
    """Add the file, if there is one, to the message of an error about an impossible value."""
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
