"""What a network costs, in closed form: parameters, floating point operations and activation memory.

The functions below follow the networks part by part, so that who changes a part finds its line. What a part does is
counted over `tokens`, all B * T of the batch.

- Parameters are those of the sequence classifier, exactly.
- FLOPs are those of the products and convolutions of one forward pass, two for each multiplication and addition, as
  `torch.utils.flop_counter` counts them; a training step has three times as many. Sums over tokens and functions of
  single values are left out. FNet's Fourier transform, which the counter does not know, is added by formula.
- Activation memory is what one forward pass in training keeps for the backward pass: bytes in float32. Left out is
  what does not grow with the width, as token ids, masks and the statistics of layer norms. A dropout mask counts as
  floats, as on the CPU; elsewhere it takes a quarter of that.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from transformers import BertConfig, FNetConfig, PreTrainedConfig

from ..configuration_wave import WaveConfig

BYTES = 4
# Tensors that an activation keeps, beside its result: "gelu_new" is written in Python, operation by operation.
KEPT_BY_ACTIVATION = {"gelu": 1, "gelu_new": 4}


@dataclass(frozen=True)
class Cost:
    """The cost of a network, or of a part of it.

    Args:
        parameters: Their number.
        flops: Floating point operations of one forward pass.
        saved_bytes: What one forward pass keeps for the backward pass.
    """

    parameters: int = 0
    flops: int = 0
    saved_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.flops + other.flops, self.saved_bytes + other.saved_bytes)

    def repeated(self, times: int) -> "Cost":
        """Return the cost of so many passes with the same parameters."""
        return Cost(self.parameters, times * self.flops, times * self.saved_bytes)


def cost(config: PreTrainedConfig, batch_size: int, length: int) -> Cost:
    """Return what a sequence classifier costs for a batch of texts of one length; its width is that of the config.

    Args:
        config: A `WaveConfig`, `BertConfig` (with `attn_implementation="eager"`, whose memory is quadratic in the
            length; the operations of the others are the same) or `FNetConfig`. A position table limits no length here.
        batch_size: B, the number of texts.
        length: T, the number of tokens in each.

    Raises:
        ValueError: The config is of another kind, or its activation is.
    """
    if config.model_type not in COSTS:
        known = ", ".join(COSTS)
        raise ValueError(f"model_type of the config is {config.model_type!r}, but should be one of {known}.")
    return COSTS[config.model_type](config, batch_size, length)


# The parts of all networks


def kept(*shape: int) -> Cost:
    """A tensor that is kept for the backward pass."""
    return Cost(saved_bytes=BYTES * math.prod(shape))


def table(rows: int | None, width: int) -> Cost:
    """A table that vectors are looked up in, or none."""
    return Cost(parameters=(rows or 0) * width)


def linear(tokens: int, inputs: int, outputs: int) -> Cost:
    """A linear map with a bias, which keeps its input."""
    return Cost((inputs + 1) * outputs, 2 * tokens * inputs * outputs) + kept(tokens, inputs)


def layer_norm(tokens: int, width: int) -> Cost:
    """A layer normalisation, which keeps its input."""
    return Cost(2 * width) + kept(tokens, width)


def dropout(tokens: int, width: int, probability: float) -> Cost:
    """A dropout, which keeps its mask."""
    return kept(tokens, width) if probability > 0 else Cost()


def feed_forward(tokens: int, width: int, inner_width: int, activation: str) -> Cost:
    """Two linear maps with an activation between them."""
    if activation not in KEPT_BY_ACTIVATION:
        raise ValueError(f"hidden_act is {activation!r}, but should be one of {', '.join(KEPT_BY_ACTIVATION)}.")
    maps = linear(tokens, width, inner_width) + linear(tokens, inner_width, width)
    return maps + kept(KEPT_BY_ACTIVATION[activation], tokens, inner_width)


def total(parts: list[Cost]) -> Cost:
    """The sum of the parts."""
    return sum(parts, Cost())


# Wave Networks


def wave_cost(config: WaveConfig, batch_size: int, length: int) -> Cost:
    """`WaveForSequenceClassification`."""
    tokens, width, sides = batch_size * length, config.hidden_size, 1 + (config.pair_encoding == "separate")
    table_width = config.embedding_size or width
    network = total(
        [
            table(config.vocab_size, table_width),
            table(config.max_position_embeddings, table_width),
            table(config.type_vocab_size, table_width),
            linear(tokens, table_width, width) if config.embedding_size else Cost(),
            dropout(tokens, width, config.hidden_dropout_prob),
            *(wave_layer(config, layer_idx, tokens) for layer_idx in range(config.num_hidden_layers)),
            layer_norm(tokens if config.final_norm == "tokens" else batch_size, width),
            formula(POOLING_COSTS, "pooling", config.pooling)(tokens, width),
        ]
    )
    return network.repeated(sides) + linear(batch_size, sides * width, config.num_labels or 0)


def wave_layer(config: WaveConfig, layer_idx: int, tokens: int) -> Cost:
    """`WaveLayer`."""
    width, inner_width = config.hidden_size, config.intermediate_size
    parts = [
        layer_norm(tokens, width) if layer_idx > 0 else Cost(),
        local_kernel(tokens, width, config.local_kernel_size, config.local_kernel_groups or width),
        wave_mixer(config, layer_idx, tokens),
        layer_norm(tokens, width) if config.update_norm else Cost(),
        dropout(tokens, width, config.hidden_dropout_prob),
    ]
    if inner_width:
        parts += [
            layer_norm(tokens, width),
            feed_forward(tokens, width, inner_width, "gelu"),
            dropout(tokens, width, config.hidden_dropout_prob),
        ]
    return total(parts)


def local_kernel(tokens: int, width: int, kernel_size: int | None, groups: int) -> Cost:
    """`WaveLocalKernel`: a convolution without a bias, which keeps its input; or none."""
    if kernel_size is None:
        return Cost()
    weights = kernel_size * width * (width // groups)
    return Cost(weights, 2 * tokens * weights) + kept(tokens, width)


def wave_mixer(config: WaveConfig, layer_idx: int, tokens: int) -> Cost:
    """`WaveMixer`: both variants, the wave operation and the readout."""
    width, operation = config.hidden_size, config.layer_operation(layer_idx)
    variants = linear(tokens, width, 2 * width)
    variants += local_kernel(tokens, 2 * width, config.variant_kernel_size, groups=2 * width)
    if config.scale_waves:
        variants += kept(tokens, 2 * width)  # before they are scaled
    waves = formula(WAVE_OPERATION_COSTS, "wave_operation", operation)(config, tokens)
    return variants + waves + formula(READOUT_COSTS, "readout", config.readout)(config, layer_idx, tokens)


def modulation(config: WaveConfig, tokens: int) -> Cost:
    """A product, which keeps the real and the imaginary parts of both variants."""
    return kept(2, tokens, 2 * config.hidden_size)


def interference(config: WaveConfig, tokens: int) -> Cost:
    """A sum; the imaginary parts, where they are read, keep themselves and the variants."""
    return Cost() if config.readout == "real" else kept(2, tokens, 2 * config.hidden_size)


def magnitude(config: WaveConfig, layer_idx: int, tokens: int) -> Cost:
    """The combined wave, and its magnitude, unless that goes unchanged into the next norm, which keeps it anyway."""
    is_last = layer_idx == config.num_hidden_layers - 1 and not config.intermediate_size
    is_changed = config.residual or config.hidden_dropout_prob > 0 or (is_last and config.final_norm == "pooled")
    return kept(2 + (is_changed and not config.update_norm), tokens, config.hidden_size)


def formula(table: dict[str, Callable[..., Cost]], field: str, name: str) -> Callable[..., Cost]:
    """Return the cost formula of a wave operation, a readout or a pooling."""
    if name not in table:
        raise ValueError(f"{field}={name!r} has no cost formula, but should have one in {__name__}.")
    return table[name]


# By the names in `waves.WAVE_OPERATIONS`, `waves.READOUTS` and `modeling_wave.POOLINGS`.
WAVE_OPERATION_COSTS: dict[str, Callable[..., Cost]] = {"modulation": modulation, "interference": interference}
READOUT_COSTS: dict[str, Callable[..., Cost]] = {
    "cartesian": lambda config, _, tokens: linear(tokens, 2 * config.hidden_size, config.hidden_size),
    "real": lambda *_: Cost(),
    "magnitude": magnitude,
}
POOLING_COSTS: dict[str, Callable[..., Cost]] = {"mean": lambda *_: Cost(), "cls": lambda *_: Cost(), "max": kept}


# BERT and FNet


def bert_cost(config: BertConfig, batch_size: int, length: int) -> Cost:
    """`BertForSequenceClassification`."""
    tokens, width, probability = batch_size * length, config.hidden_size, config.hidden_dropout_prob
    layer = total(
        [
            linear(tokens, width, 3 * width),  # query, key and value
            attention(config, batch_size, length),
            linear(tokens, width, width),
            dropout(tokens, width, probability),
            layer_norm(tokens, width),
            feed_forward(tokens, width, config.intermediate_size, config.hidden_act),
            dropout(tokens, width, probability),
            layer_norm(tokens, width),
        ]
    )
    embeddings = [embedding_tables(config), layer_norm(tokens, width), dropout(tokens, width, probability)]
    return total([*embeddings, *[layer] * config.num_hidden_layers, pooled_head(config, batch_size, length)])


def attention(config: BertConfig, batch_size: int, length: int) -> Cost:
    """The scores of all pairs of tokens, and the mean of the values by them."""
    width, probability = config.hidden_size, config.attention_probs_dropout_prob
    scores = batch_size * config.num_attention_heads * length, length
    products = Cost(flops=2 * 2 * batch_size * length**2 * width)
    dropped = dropout(*scores, probability).repeated(2)  # the mask and its product with the scores
    return products + kept(3, batch_size * length, width) + kept(*scores) + dropped


def fnet_cost(config: FNetConfig, batch_size: int, length: int) -> Cost:
    """`FNetForSequenceClassification`."""
    tokens, width, probability = batch_size * length, config.hidden_size, config.hidden_dropout_prob
    layer = total(
        [
            Cost(flops=batch_size * fourier_transform_flops(length, width)),
            layer_norm(tokens, width),
            feed_forward(tokens, width, config.intermediate_size, config.hidden_act),
            dropout(tokens, width, probability),
            layer_norm(tokens, width),
        ]
    )
    embeddings = [
        embedding_tables(config),
        layer_norm(tokens, width),
        linear(tokens, width, width),
        dropout(tokens, width, probability),
    ]
    return total([*embeddings, *[layer] * config.num_hidden_layers, pooled_head(config, batch_size, length)])


def fourier_transform_flops(length: int, width: int) -> int:
    """5 n log2(n) for the n = length * width values of a text: the usual count of a fast Fourier transform."""
    return round(5 * length * width * math.log2(length * width))


def embedding_tables(config: BertConfig | FNetConfig) -> Cost:
    """The tables of tokens, positions and token types."""
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return table(rows, config.hidden_size)


def pooled_head(config: BertConfig | FNetConfig, batch_size: int, length: int) -> Cost:
    """A map of the first token, which keeps the tensor that it is a part of, and the classifier."""
    width = config.hidden_size
    head = linear(batch_size, width, width) + linear(batch_size, width, config.num_labels or 0)
    return head + kept(batch_size * length, width)


COSTS: dict[str, Callable[..., Cost]] = {
    WaveConfig.model_type: wave_cost,
    BertConfig.model_type: bert_cost,
    FNetConfig.model_type: fnet_cost,
}
