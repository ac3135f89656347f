"""Tests of the network without its heads: the layer, its parts, inputs, outputs and cost."""

import itertools

import pytest
import torch
from builders import (
    ALL_PARTS,
    HEADS,
    OPERATIONS,
    POOLINGS,
    READOUTS,
    SAME,
    configs,
    head_inputs,
    random_ids,
    scores,
    tiny_config,
    tiny_model,
    training_inputs,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from wave_hf import WaveConfig, WaveForTokenClassification, WaveLayer, WaveModel, reference


class TestLayer:
    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("form", READOUTS)
    def test_computes_the_equations_of_the_paper(self, operation, form):
        torch.manual_seed(0)
        layer = WaveLayer(tiny_config(wave_operation=operation, readout=form)).double()
        tokens = torch.randn(2, 5, 8, dtype=torch.float64)
        first, second = (reference.token2wave(variant) for variant in layer.mixer.variants(tokens).chunk(2, dim=-1))
        wave = getattr(reference, f"wave_{operation}")(first, second)
        parts = {
            "cartesian": lambda: layer.mixer.readout_proj(torch.cat((wave.real, wave.imag), dim=-1)),
            "real": lambda: wave.real,
            "magnitude": lambda: wave.abs(),
        }
        assert_close(layer(tokens), parts[form](), atol=1e-10, rtol=1e-10)

    @pytest.mark.parametrize("parts", [{}, {"local_kernel_size": 3, "intermediate_size": 12}])
    def test_residual_adds_the_input(self, parts):
        layer = WaveLayer(tiny_config(residual=True, **parts))
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        tokens = torch.randn(2, 5, 8)
        assert torch.equal(layer(tokens), tokens)

    @pytest.mark.parametrize(("layer_idx", "matters"), [(0, True), (1, False)])
    def test_length_of_the_tokens_matters_to_the_first_layer_alone(self, layer_idx, matters):
        layer, tokens = WaveLayer(tiny_config(layer_norm_eps=1e-12), layer_idx), torch.randn(2, 5, 8)
        assert torch.allclose(layer(tokens), layer(2 * tokens), **SAME) != matters

    def test_scale_of_the_variants_does_not_matter_to_scaled_waves(self):
        layer, tokens = WaveLayer(tiny_config(scale_waves=True)).double(), torch.randn(2, 5, 8, dtype=torch.float64)
        expected = layer(tokens)
        with torch.no_grad():
            scales = torch.linspace(0.1, 10, 16)
            layer.mixer.variants.weight *= scales.unsqueeze(-1)
            layer.mixer.variants.bias *= scales
        assert_close(layer(tokens), expected)

    def test_update_is_normalised_before_it_is_added(self):
        layer = WaveLayer(tiny_config(residual=True, update_norm=True, layer_norm_eps=1e-12))
        tokens = torch.randn(2, 5, 8)
        update = layer(tokens) - tokens
        assert_close(update.mean(dim=-1), torch.zeros(2, 5), **SAME)
        assert_close(update.var(dim=-1, correction=0), torch.ones(2, 5), **SAME)

    def test_kernel_of_the_variants_is_a_weighted_sum_over_neighbours(self):
        mixer = WaveLayer(tiny_config(variant_kernel_size=3)).mixer
        tokens, mask = torch.randn(1, 4, 8), torch.tensor([[1, 1, 1, 0]])
        before, own, after = mixer.variant_kernel.convolution.weight[:, 0].T
        first, second, third = mixer.variants(tokens)[0, :3]
        expected = [
            (1 + own) * first + after * second,
            before * first + (1 + own) * second + after * third,
            before * second + (1 + own) * third,
            torch.zeros(16),
        ]
        assert_close(mixer.make_variants(tokens, mask)[0], torch.stack(expected), **SAME)


class TestFinalNorm:
    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_is_applied_once_to_the_pooled_vector(self, pooling, mask):
        model = tiny_model(model_class=WaveModel, final_norm="pooled", pooling=pooling)
        output = model(random_ids(2, 6), mask, output_hidden_states=True)
        assert torch.equal(output.last_hidden_state, output.hidden_states[-1])
        assert_close(output.pooler_output, model.norm(model.pooler(output.last_hidden_state, mask)))
        normalised = tiny_model(model_class=WaveModel, pooling=pooling)(random_ids(2, 6), mask)
        assert_close(model.norm(output.last_hidden_state), normalised.last_hidden_state)

    def test_heads_that_label_tokens_read_normalised_tokens(self):
        logits = [
            tiny_model(model_class=WaveForTokenClassification, final_norm=place)(random_ids(2, 6)).logits
            for place in ("tokens", "pooled")
        ]
        assert_close(*logits)


def test_default_is_as_small_as_the_paper_says():
    with torch.device("meta"):
        model = WaveModel(WaveConfig())
    table = model.get_input_embeddings().weight.numel()
    assert sum(parameter.numel() for parameter in model.parameters()) - table == pytest.approx(2.4e6, rel=0.02)


class TestOperations:
    def test_each_layer_has_its_own(self):
        operations = [*OPERATIONS, ["modulation", "interference"], ["interference", "modulation"]]
        models = [tiny_model(wave_operation=operation, num_hidden_layers=2) for operation in operations]
        logits = [model(random_ids(1, 6)).logits for model in models]
        # The networks have the same weights.
        assert_close(models[0].state_dict(), models[-1].state_dict())
        assert not any(torch.allclose(one, other, **SAME) for one, other in itertools.combinations(logits, 2))

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_one_name_sets_all_layers(self, operation):
        listed = tiny_model(wave_operation=[operation] * 2, num_hidden_layers=2)
        model = tiny_model(wave_operation=operation, num_hidden_layers=2)
        assert torch.equal(listed(random_ids(1, 6)).logits, model(random_ids(1, 6)).logits)


class TestWordOrder:
    @pytest.mark.parametrize(
        ("part", "matters"),
        [
            ({}, False),
            ({"local_kernel_size": 3}, True),
            ({"variant_kernel_size": 3}, True),
            ({"max_position_embeddings": 6}, True),
        ],
    )
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_order_matters_to_networks_with_a_kernel_or_positions(self, operation, part, matters):
        model = tiny_model(wave_operation=operation, num_hidden_layers=2, **part)
        input_ids = random_ids(1, 6)
        logits, shuffled = model(input_ids).logits, model(input_ids[:, [3, 5, 0, 1, 4, 2]]).logits
        assert torch.allclose(logits, shuffled, **SAME) != matters

    @pytest.mark.parametrize(("groups", "reached"), [(None, [0]), (2, [0, 1, 2, 3]), (1, list(range(8)))])
    def test_kernel_mixes_the_dimensions_of_a_group(self, groups, reached):
        kernel = WaveLayer(tiny_config(local_kernel_size=3, local_kernel_groups=groups)).local_kernel
        tokens = torch.zeros(1, 2, 8)
        tokens[0, 1, 0] = 1
        assert kernel(tokens)[0, 0].nonzero().flatten().tolist() == reached

    def test_token_types_matter(self):
        model = tiny_model(type_vocab_size=2)
        input_ids, token_type_ids = random_ids(1, 4), torch.tensor([[0, 0, 1, 1]])
        logits = model(input_ids).logits
        assert_close(model(input_ids, token_type_ids=torch.zeros_like(input_ids)).logits, logits)
        assert not torch.allclose(model(input_ids, token_type_ids=token_type_ids).logits, logits, **SAME)


class TestDropout:
    @pytest.mark.parametrize("kind", ["hidden_dropout_prob", "classifier_dropout", "token_dropout_prob"])
    def test_is_for_training_only(self, kind):
        model, without = tiny_model(**{kind: 0.5}), tiny_model()
        input_ids = random_ids(8, 6)
        assert torch.equal(model(input_ids).logits, without(input_ids).logits)
        model.train()
        assert not torch.allclose(model(input_ids).logits, model(input_ids).logits, **SAME)


class TestTokenDropout:
    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_only_the_first_real_token_is_sure_to_stay(self, pooling, mask):
        model = tiny_model(**ALL_PARTS, pooling=pooling, token_dropout_prob=1 - 1e-9)
        input_ids = random_ids(2, 6)
        expected = model(torch.stack((input_ids[0, 2:3], input_ids[1, :1]))).logits
        assert_close(model.train()(input_ids, mask).logits, expected, **SAME)

    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("part", [{}, {"local_kernel_size": 3}, {"max_position_embeddings": 5}])
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_each_text_loses_tokens_of_its_own_as_if_they_were_masked(self, operation, part, pooling):
        model = tiny_model(wave_operation=operation, pooling=pooling, token_dropout_prob=0.4, **part)
        copies, input_ids, mask = 1000, random_ids(1, 5), torch.tensor([[1, 1, 1, 1, 0]])
        # What training can leave of the text: the first token, with or without each of the next three.
        kept = torch.cartesian_prod(*[torch.tensor(choice) for choice in ([1], [0, 1], [0, 1], [0, 1], [0])])
        possible = model(input_ids.expand(8, -1), kept).logits
        logits = model.train()(input_ids.expand(copies, -1), mask.expand(copies, -1)).logits
        distance, found = (logits[:, None] - possible).abs().amax(dim=-1).min(dim=1)
        assert (distance < 1e-4).all()
        if pooling != "cls" or "local_kernel_size" in part:
            assert kept[found].float().mean(dim=0).tolist() == pytest.approx([1, 0.6, 0.6, 0.6, 0], abs=0.05)


class TestInputs:
    @given(head=st.sampled_from(HEADS), config=configs())
    def test_embeddings_stand_for_their_ids(self, head, config):
        model = tiny_model(config, head)
        input_ids = random_ids(2, 5)
        inputs_embeds = model.get_input_embeddings()(input_ids)
        assert torch.equal(scores(model, inputs_embeds=inputs_embeds), scores(model, input_ids=input_ids))

    @pytest.mark.parametrize("inputs", [{}, {"input_ids": random_ids(1, 4), "inputs_embeds": torch.ones(1, 4, 8)}])
    @pytest.mark.parametrize("head", HEADS)
    def test_ids_and_embeddings_exclude_each_other(self, head, inputs):
        with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
            scores(tiny_model(model_class=head), **inputs)

    @pytest.mark.parametrize("token_id", [-1, 32])
    def test_ids_out_of_range_raise_an_error_with_the_size_of_the_table(self, token_id):
        with pytest.raises(IndexError, match=rf"between .*{token_id}.*vocab_size=32"):
            tiny_model()(torch.tensor([[token_id, 5]]))

    def test_position_table_limits_the_length(self):
        model = tiny_model(max_position_embeddings=4)
        assert model(random_ids(1, 4)).logits.isfinite().all()
        with pytest.raises(ValueError, match="max_position_embeddings"):
            model(random_ids(1, 5))


class TestOutputs:
    @pytest.mark.parametrize("depth", [1, 3])
    def test_hidden_states_run_from_the_embeddings_to_the_last_one(self, depth):
        model = tiny_model(model_class=WaveModel, num_hidden_layers=depth, embedding_size=4)
        output = model(random_ids(2, 5), output_hidden_states=True)
        assert [hidden.shape for hidden in output.hidden_states] == [(2, 5, 8)] * (depth + 1)
        assert torch.equal(output.hidden_states[-1], output.last_hidden_state)

    @pytest.mark.parametrize("head", HEADS)
    def test_hidden_states_are_returned_on_request(self, head):
        model = tiny_model(model_class=head)
        inputs = head_inputs(model, input_ids=random_ids(2, 5))
        assert model(**inputs).hidden_states is None
        hidden_states = model(**inputs, output_hidden_states=True).hidden_states
        assert [hidden.shape for hidden in hidden_states] == [(2, 5, 8)] * 2

    @pytest.mark.parametrize("head", HEADS)
    def test_outputs_can_be_a_tuple(self, head):
        model = tiny_model(model_class=head)
        inputs = training_inputs(model, input_ids=random_ids(2, 5))
        expected = model(**inputs)
        assert list(expected) == ["loss", "start_logits", "end_logits"] or list(expected) == ["loss", "logits"]
        for part, other in zip(model(**inputs, return_dict=False), expected.values(), strict=True):
            assert torch.equal(part, other)

    @pytest.mark.parametrize("model_class", [WaveModel, *HEADS])
    @pytest.mark.parametrize("pair_encoding", ["joint", "separate"])
    def test_config_can_ask_for_a_tuple(self, model_class, pair_encoding):
        model = tiny_model(model_class=model_class, pair_encoding=pair_encoding)
        inputs = head_inputs(model, input_ids=random_ids(2, 4))
        expected = model(**inputs).to_tuple()
        model.config.return_dict = False
        output = model(**inputs)
        assert isinstance(output, tuple)
        assert_close(output, expected)


class TestCost:
    """The cost of a training step grows by the same amount with every token."""

    @staticmethod
    def step(length, head, config, count):
        model = head(config)
        inputs = training_inputs(model, input_ids=random_ids(2, length))
        with count:
            model(**inputs).loss.backward()

    @pytest.mark.slow
    @given(head=st.sampled_from(HEADS), config=configs(max_position_embeddings=st.none()))
    @settings(max_examples=20)
    def test_operations_are_linear_in_the_length(self, head, config):
        def flops(length):
            counter = FlopCounterMode(display=False)
            self.step(length, head, config, counter)
            return counter.get_total_flops()

        assert flops(300) - flops(200) == flops(200) - flops(100) > 0

    @given(head=st.sampled_from(HEADS), config=configs(max_position_embeddings=st.none()))
    @settings(max_examples=20)
    def test_memory_is_linear_in_the_length(self, head, config):
        def saved_bytes(length):
            sizes = []
            count = saved_tensors_hooks(lambda tensor: sizes.append(tensor.nbytes) or tensor, lambda tensor: tensor)
            self.step(length, head, config, count)
            return sum(sizes)

        assert saved_bytes(300) - saved_bytes(200) == saved_bytes(200) - saved_bytes(100) > 0
