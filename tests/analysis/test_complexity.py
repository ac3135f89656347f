"""Every closed form equals the cost that is counted on the network itself."""

import copy

import pytest
import torch
from builders import OPERATIONS, POOLINGS, READOUTS, configs, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, BertConfig, FNetConfig, RobertaConfig

from wave_hf.analysis import cost
from wave_hf.analysis.complexity import POOLING_COSTS, READOUT_COSTS, WAVE_OPERATION_COSTS, fourier_transform_flops

# Wide enough that costs which do not grow with the width are negligible.
SHAPE = {"vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "pad_token_id": 0}
WAVES = configs(
    hidden_size=st.sampled_from([64, 96]),
    embedding_size=st.sampled_from([None, 48]),
    intermediate_size=st.sampled_from([None, 80]),
    hidden_dropout_prob=st.sampled_from([0.0, 0.1]),
    max_position_embeddings=st.sampled_from([None, 64]),
)
DROPOUTS = [{"hidden_dropout_prob": p, "attention_probs_dropout_prob": q} for p, q in [(0.1, 0.1), (0.0, 0.1), (0, 0)]]
OTHERS = [
    *(BertConfig(**SHAPE, num_attention_heads=4, attn_implementation="eager", **dropouts) for dropouts in DROPOUTS),
    BertConfig(**SHAPE | {"hidden_act": "gelu_new"}, num_attention_heads=8, attn_implementation="eager"),
    FNetConfig(**SHAPE, num_labels=5),
    FNetConfig(**SHAPE | {"hidden_act": "gelu"}, hidden_dropout_prob=0.0),
]
SHAPES = st.tuples(st.integers(1, 4), st.integers(24, 64))


class Saved:
    """Stands for a saved tensor for as long as a backward pass could need it."""

    def __init__(self, tensor, alive):
        # Not the tensor, which may belong to the graph that keeps this object: neither would ever be freed.
        self.alive = alive
        alive[id(self)] = tensor.untyped_storage()

    def __del__(self):
        del self.alive[id(self)]


def run(config, shape):
    """Returns a model and the loss of a batch."""
    model = AutoModelForSequenceClassification.from_config(config).train()
    batch = {"input_ids": torch.ones(shape, dtype=torch.long), "labels": torch.zeros(shape[0], dtype=torch.long)}
    if config.model_type != "fnet":
        batch["attention_mask"] = torch.ones(shape)
    return model, lambda: model(**batch).loss


def check(config, shape):
    expected = cost(config, *shape)
    model, forward = run(config, shape)
    assert expected.parameters == model.num_parameters()

    fourier = 0
    if config.model_type == "fnet":  # which the counter does not know
        fourier = config.num_hidden_layers * shape[0] * fourier_transform_flops(shape[1], config.hidden_size)
    with FlopCounterMode(display=False) as counter:
        loss = forward()
        assert expected.flops - fourier == pytest.approx(counter.get_total_flops(), rel=0.02)
        loss.backward()
        kernels = [getattr(config, name, None) for name in ("local_kernel_size", "variant_kernel_size")]
        if not any(kernels):  # the counter overlooks their groups on the way back
            assert 3 * (expected.flops - fourier) == pytest.approx(counter.get_total_flops(), rel=0.02)

    alive = {}
    with saved_tensors_hooks(lambda tensor: Saved(tensor, alive), lambda saved: None):
        loss = forward()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages = {storage.data_ptr(): storage.nbytes() for storage in alive.values()}
    saved_bytes = sum(size for pointer, size in storages.items() if pointer not in weights)
    assert expected.saved_bytes == pytest.approx(saved_bytes, rel=0.1)


@pytest.mark.slow
@given(config=WAVES, shape=SHAPES)
def test_wave_network(config, shape):
    check(config, shape)


@pytest.mark.parametrize("config", OTHERS, ids=lambda config: config.model_type)
@settings(max_examples=5)
@given(shape=SHAPES)
def test_bert_and_fnet(config, shape):
    check(config, shape)


def test_known_sizes():
    assert cost(BertConfig(num_labels=2), 1, 1).parameters == 109_483_778
    paper = cost(tiny_config(vocab_size=30522, hidden_size=768, num_labels=4), 1, 1)
    assert paper.parameters - 30522 * 768 == 4 * 768**2 + 3 * 768 + 2 * 768 + 4 * 769


def test_a_wave_network_is_linear_in_the_length_and_bert_is_not():
    growth = {}
    for config in (tiny_config(), BertConfig()):
        short, long = cost(config, 4, 2048), cost(config, 4, 8192)
        growth[config.model_type] = long.flops / short.flops, long.saved_bytes / short.saved_bytes
    assert growth["wave_network"] == pytest.approx((4, 4), rel=1e-2)
    assert growth["bert"][0] > 5
    assert growth["bert"][1] > 10


def test_every_part_has_a_formula():
    assert WAVE_OPERATION_COSTS.keys() == set(OPERATIONS)
    assert READOUT_COSTS.keys() == set(READOUTS)
    assert POOLING_COSTS.keys() == set(POOLINGS)


def test_other_networks_and_activations_are_refused():
    with pytest.raises(ValueError, match="model_type is 'roberta', but there are cost formulas only for wave_network"):
        cost(RobertaConfig(), 1, 1)
    config = copy.deepcopy(OTHERS[0])
    config.hidden_act = "relu"
    with pytest.raises(ValueError, match="hidden_act is 'relu', but there are cost formulas only for gelu"):
        cost(config, 1, 1)


@pytest.mark.parametrize(
    ("field", "formulas"),
    [("wave_operation", WAVE_OPERATION_COSTS), ("readout", READOUT_COSTS), ("pooling", POOLING_COSTS)],
)
def test_a_value_without_a_formula_is_refused(field, formulas, monkeypatch):
    config = tiny_config()
    monkeypatch.delitem(formulas, getattr(config, field))
    with pytest.raises(ValueError, match=f"{field} is '{getattr(config, field)}', but there are cost formulas only"):
        cost(config, 1, 1)
