"""The cost of a network in closed form: parameters, floating point operations and activation memory.

The functions below follow the networks part by part, so that whoever changes a part finds its formula. Formulas of
values that a config field can take, such as a readout, are looked up by that value: a value without a formula is an
error. The cost of a part is that of all `tokens` of a batch, B * T.

- Parameters: those of the sequence classifier, exactly.
- FLOPs: those of the matrix products and convolutions of one forward pass, two for each multiplication and addition,
  as `torch.utils.flop_counter` counts them. A training step needs three times as many. Sums over tokens and
  elementwise functions are not counted. FNet's Fourier transform, which the counter does not know, is added by
  formula.
- Activation memory: the bytes in float32 that one forward pass in training saves for the backward pass. What does not
  grow with the width is not counted, such as token ids, masks and the statistics of layer norms. A dropout mask counts
  as floats, as on the CPU; on other devices it takes a quarter of that.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from transformers import BertConfig, FNetConfig, PreTrainedConfig

from ..configuration_wave import WaveConfig

BYTES = 4

Formula = TypeVar("Formula")


@dataclass(frozen=True)
class Cost:
    """The cost of a network, or of a part of it.

    Args:
        parameters: Number of parameters.
        flops: Floating point operations of one forward pass.
        saved_bytes: Bytes that one forward pass saves for the backward pass.
    """

    parameters: int = 0
    flops: int = 0
    saved_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.flops + other.flops, self.saved_bytes + other.saved_bytes)

    def repeated(self, times: int) -> "Cost":
        """Return the cost of several passes with the same parameters."""
        return Cost(self.parameters, times * self.flops, times * self.saved_bytes)


def cost(config: PreTrainedConfig, batch_size: int, length: int) -> Cost:
    """Return the cost of a sequence classifier for a batch of texts of one length.

    Args:
        config: A `WaveConfig`, a `FNetConfig`, or a `BertConfig` with `attn_implementation="eager"`, whose memory is
            quadratic in the length (other implementations need as many operations). A position table does not limit
            the length here.
        batch_size: B, the number of texts.
        length: T, the number of tokens in each.

    Raises:
        ValueError: There is no formula for this kind of network, or for a value of one of its fields.
    """
    return look_up(NETWORK_COSTS, "model_type", config.model_type)(config, batch_size, length)


def look_up(formulas: Mapping[str, Formula], field: str, value: str) -> Formula:
    """Return the formula of a value that a config field has.

    Raises:
        ValueError: There is none.
    """
    if value not in formulas:
        raise ValueError(f"{field} is {value!r}, but there are cost formulas only for {', '.join(formulas)}.")
    return formulas[value]


# Parts of all networks


def saved(*shape: int) -> Cost:
    """A tensor that is saved for the backward pass."""
    return Cost(saved_bytes=BYTES * math.prod(shape))


def table(rows: int | None, width: int) -> Cost:
    """An embedding table; `None` or 0 rows mean that there is none."""
    return Cost(parameters=(rows or 0) * width)


def linear(tokens: int, inputs: int, outputs: int) -> Cost:
    """A linear map with a bias, which saves its input."""
    return Cost((inputs + 1) * outputs, 2 * tokens * inputs * outputs) + saved(tokens, inputs)


def layer_norm(tokens: int, width: int) -> Cost:
    """A layer normalization, which saves its input."""
    return Cost(2 * width) + saved(tokens, width)


def dropout(tokens: int, width: int, probability: float) -> Cost:
    """A dropout, which saves its mask."""
    return saved(tokens, width) if probability > 0 else Cost()


def feed_forward(tokens: int, width: int, inner_width: int, activation: str) -> Cost:
    """Two linear maps with an activation between them."""
    maps = linear(tokens, width, inner_width) + linear(tokens, inner_width, width)
    return maps + saved(look_up(SAVED_BY_ACTIVATION, "hidden_act", activation), tokens, inner_width)


# The number of tensors that an activation saves besides its result; "gelu_new" is a chain of elementwise operations.
SAVED_BY_ACTIVATION = {"gelu": 1, "gelu_new": 4}


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
            look_up(POOLING_COSTS, "pooling", config.pooling)(tokens, width),
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
    """`WaveLocalKernel`: a convolution without a bias, which saves its input; `None` means that there is none."""
    if kernel_size is None:
        return Cost()
    weights = kernel_size * width * (width // groups)
    return Cost(weights, 2 * tokens * weights) + saved(tokens, width)


def wave_mixer(config: WaveConfig, layer_idx: int, tokens: int) -> Cost:
    """`WaveMixer`: the two variants, the wave operation on their waves, and the readout."""
    width, operation = config.hidden_size, config.layer_operation(layer_idx)
    return total(
        [
            linear(tokens, width, 2 * width),
            local_kernel(tokens, 2 * width, config.variant_kernel_size, groups=2 * width),
            saved(tokens, 2 * width) if config.scale_waves else Cost(),
            look_up(WAVE_OPERATION_COSTS, "wave_operation", operation)(config, tokens),
            look_up(READOUT_COSTS, "readout", config.readout)(config, layer_idx, tokens),
        ]
    )


def modulation(config: WaveConfig, tokens: int) -> Cost:
    """A product of two waves, which saves the real and imaginary parts of both."""
    return saved(2, tokens, 2 * config.hidden_size)


def interference(config: WaveConfig, tokens: int) -> Cost:
    """A sum of two waves. Making them saves both their parts, unless the readout ignores the imaginary one."""
    return Cost() if config.readout == "real" else saved(2, tokens, 2 * config.hidden_size)


def both_parts(config: WaveConfig, layer_idx: int, tokens: int) -> Cost:
    """A linear map of the real and imaginary parts."""
    return linear(tokens, 2 * config.hidden_size, config.hidden_size)


def real_part(config: WaveConfig, layer_idx: int, tokens: int) -> Cost:
    """The real part as it is."""
    return Cost()


def magnitude(config: WaveConfig, layer_idx: int, tokens: int) -> Cost:
    """The magnitude, which saves the combined wave and its result, unless the next norm saves that result anyway."""
    is_last = layer_idx == config.num_hidden_layers - 1 and not config.intermediate_size
    is_changed = config.residual or config.hidden_dropout_prob > 0 or (is_last and config.final_norm == "pooled")
    return saved(2 + (is_changed and not config.update_norm), tokens, config.hidden_size)


# By the names in `waves.WAVE_OPERATIONS`, `waves.READOUTS` and `modeling_wave.POOLINGS`.
WAVE_OPERATION_COSTS: dict[str, Callable[[WaveConfig, int], Cost]] = {
    "modulation": modulation,
    "interference": interference,
}
READOUT_COSTS: dict[str, Callable[[WaveConfig, int, int], Cost]] = {
    "cartesian": both_parts,
    "real": real_part,
    "magnitude": magnitude,
}
# Only the maximum saves its input.
POOLING_COSTS: dict[str, Callable[[int, int], Cost]] = {
    "mean": lambda tokens, width: Cost(),
    "max": saved,
    "cls": lambda tokens, width: Cost(),
}


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
    """The scores of all pairs of tokens, and the averages of the values that they weight."""
    width, probability = config.hidden_size, config.attention_probs_dropout_prob
    scores = batch_size * config.num_attention_heads * length, length
    products = Cost(flops=2 * 2 * batch_size * length**2 * width)
    dropped = dropout(*scores, probability).repeated(2)  # the mask and its product with the scores
    return products + saved(3, batch_size * length, width) + saved(*scores) + dropped


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
    """5 n log2(n) for the n = length * width values of a text, the usual count of a fast Fourier transform."""
    return round(5 * length * width * math.log2(length * width))


def embedding_tables(config: BertConfig | FNetConfig) -> Cost:
    """The tables of tokens, positions and token types."""
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    return table(rows, config.hidden_size)


def pooled_head(config: BertConfig | FNetConfig, batch_size: int, length: int) -> Cost:
    """A linear map of the first token, which saves the tensor that the token is a view of, and the classifier."""
    width = config.hidden_size
    head = linear(batch_size, width, width) + linear(batch_size, width, config.num_labels or 0)
    return head + saved(batch_size * length, width)


NETWORK_COSTS: dict[str, Callable[..., Cost]] = {
    WaveConfig.model_type: wave_cost,
    BertConfig.model_type: bert_cost,
    FNetConfig.model_type: fnet_cost,
}
