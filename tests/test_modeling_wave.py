"""Tests of the network.

`checkpoints` holds a network for each version that saves another way, with the logits it gave. They were written by:

    def write_checkpoint(folder: Path) -> None:
        model = tiny_model(**ALL_PARTS)
        model.save_pretrained(folder)
        for code in folder.glob("*.py"):
            code.unlink()
        mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
        inputs = {"input_ids": random_ids(2, 6), "attention_mask": mask, "token_type_ids": random_ids(2, 6) % 2}
        logits = model(**inputs).logits.tolist()
        inputs = {name: tensor.tolist() for name, tensor in inputs.items()}
        (folder / "logits.json").write_text(json.dumps({"inputs": inputs, "logits": logits}))
"""

import copy
import itertools
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import (
    ALL_PARTS,
    HEADS,
    OPERATIONS,
    POOLINGS,
    READOUTS,
    SPECIAL_TOKENS,
    TOKENIZER,
    VOCAB_SIZE,
    configs,
    head_inputs,
    output_scores,
    random_ids,
    scores,
    tiny_config,
    tiny_model,
    training_inputs,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from packaging.version import Version
from safetensors import safe_open
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers import DataCollatorForLanguageModeling

from wave_hf import (
    WaveConfig,
    WaveForMaskedLM,
    WaveForMultipleChoice,
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveForTokenClassification,
    WaveLayer,
    WaveModel,
    reference,
)
from wave_hf.modeling_wave import logger

TORCH = Version(torch.__version__)
CHECKPOINTS = sorted(Path(__file__).parent.glob("checkpoints/*"))

# The agreement that the network promises for logits that should be equal.
SAME = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture
def mask() -> torch.Tensor:
    """Return the mask of two texts of four and six tokens, padded on the left."""
    return torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])


def assert_trains(model, **inputs):
    """Assert that the loss, and its gradients with respect to the parameters, are finite."""
    loss = model(**training_inputs(model, **inputs)).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def of_tokens(result, is_real):
    """Return what a head says of one text, or of its real tokens."""
    return result[is_real] if result.dim() == 2 else result


def gradients(model, **inputs):
    """Return the gradients of the loss with respect to the parameters."""
    model.zero_grad()
    model(**inputs).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


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


def test_default_is_as_small_as_the_paper_says():
    with torch.device("meta"):
        model = WaveModel(WaveConfig())
    table = model.get_input_embeddings().weight.numel()
    assert sum(parameter.numel() for parameter in model.parameters()) - table == pytest.approx(2.4e6, rel=0.02)


class TestPadding:
    # Of each text, the number of tokens and of padding to their left.
    @given(
        head=st.sampled_from(HEADS),
        config=configs(),
        texts=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=1, max_size=3),
    )
    @settings(max_examples=200)
    def test_text_gives_the_same_logits_alone_as_padded_in_a_batch(self, head, config, texts):
        model = tiny_model(config, head)
        length = max(sum(text) for text in texts) + 1
        input_ids, token_type_ids = random_ids(len(texts), length), random_ids(len(texts), length, seed=1) % 2
        mask = torch.zeros_like(input_ids)
        for row, (tokens, left) in zip(mask, texts, strict=True):
            row[left : left + tokens] = 1
        batched = scores(model, input_ids=input_ids, attention_mask=mask, token_type_ids=token_type_ids)
        for result, ids, is_real, types in zip(batched, input_ids, mask == 1, token_type_ids, strict=True):
            alone = scores(model, input_ids=ids[None, is_real], token_type_ids=types[None, is_real])
            assert_close(of_tokens(result, is_real), alone[0], **SAME)

    @given(
        head=st.sampled_from(HEADS),
        config=configs(),
        junk=st.sampled_from([1e30, torch.inf, -torch.inf, torch.nan]),
    )
    @settings(max_examples=100)
    def test_no_embedding_under_the_mask_matters(self, head, config, junk):
        model = tiny_model(config, head)
        mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]])
        input_ids = random_ids(2, 5)
        inputs_embeds = model.get_input_embeddings()(input_ids).detach()
        inputs_embeds[mask == 0] = junk
        results = scores(model, inputs_embeds=inputs_embeds, attention_mask=mask)
        expected = scores(model, input_ids=input_ids, attention_mask=mask)
        for result, other, is_real in zip(results, expected, mask == 1, strict=True):
            assert_close(of_tokens(result, is_real), of_tokens(other, is_real), **SAME)
        assert_trains(model, inputs_embeds=inputs_embeds, attention_mask=mask)

    @pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float])
    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("head", HEADS)
    def test_no_mask_means_that_all_tokens_are_real(self, head, pooling, dtype):
        model = tiny_model(**ALL_PARTS, pooling=pooling, model_class=head)
        input_ids = random_ids(2, 6)
        expected = scores(model, input_ids=input_ids, attention_mask=torch.ones(2, 6, dtype=dtype))
        assert_close(scores(model, input_ids=input_ids), expected, **SAME)

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_pooling_reads_the_real_tokens(self, pooling, mask):
        model = tiny_model(model_class=WaveModel, pooling=pooling)
        output = model(random_ids(2, 6), mask)
        texts = [hidden[is_real] for hidden, is_real in zip(output.last_hidden_state, mask == 1, strict=True)]
        pool = {
            "mean": lambda text: text.mean(dim=0),
            "max": lambda text: text.amax(dim=0),
            "cls": lambda text: text[0],
        }
        assert_close(output.pooler_output, torch.stack([pool[pooling](text) for text in texts]))

    @given(head=st.sampled_from(HEADS), config=configs())
    @settings(max_examples=100)
    def test_text_without_real_tokens_pools_to_zeros(self, head, config):
        model = tiny_model(config, head)
        input_ids, mask = random_ids(2, 4), torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])
        assert (model.wave(input_ids, mask).pooler_output[1] == 0).all()
        alone = scores(model, input_ids=input_ids[:1])
        assert_close(scores(model, input_ids=input_ids, attention_mask=mask)[:1], alone, **SAME)
        assert_trains(model, input_ids=input_ids, attention_mask=mask)


class TestPrecision:
    """Texts that make the equations divide by zero, or nearly, through fresh networks: a bias would hide the zeros."""

    # What becomes of random texts (B, T, H).
    TEXTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "any": lambda tokens: tokens,
        "one token": lambda tokens: tokens[:, :1],
        "one token repeated": lambda tokens: tokens[:, :1].expand_as(tokens),
        "a dimension of zeros": lambda tokens: tokens * (torch.arange(tokens.shape[2]) > 0),
        "a token of zeros": lambda tokens: tokens * (torch.arange(tokens.shape[1]) > 0).unsqueeze(-1),
        "nothing but zeros": torch.zeros_like,
    }
    no_table = configs(embedding_size=st.none())
    masks = arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 6)), elements=st.integers(0, 1))
    scales = st.sampled_from([1e-6, 1.0, 1e4]) | st.floats(1e-6, 1e4)

    @pytest.mark.parametrize(
        ("dtype", "autocast"), [(torch.float32, False), (torch.bfloat16, False), (torch.float32, True)]
    )
    @given(head=st.sampled_from(HEADS), config=no_table, text=st.sampled_from(list(TEXTS)), mask=masks, scale=scales)
    @settings(max_examples=200)
    def test_losses_and_gradients_are_finite(self, dtype, autocast, head, config, text, mask, scale):
        self.assert_text_trains(head, config, text, mask, scale, dtype, autocast)

    # The slopes of two norms in a row at a token of zeros are too much for float16 unless epsilon is larger.
    @given(
        head=st.sampled_from(HEADS),
        config=st.one_of(
            configs(embedding_size=st.none(), update_norm=st.just(False)),
            configs(embedding_size=st.none(), update_norm=st.just(True), layer_norm_eps=st.just(1e-3)),
        ),
        text=st.sampled_from(list(TEXTS)),
        mask=masks,
    )
    @settings(max_examples=200)
    def test_losses_and_gradients_are_finite_in_float16(self, head, config, text, mask):
        self.assert_text_trains(head, config, text, mask, 1.0, torch.float16)

    def assert_text_trains(self, head, config, text, mask, scale, dtype, autocast=False):
        torch.manual_seed(0)
        model = head(config).to(dtype)
        tokens = self.TEXTS[text](torch.randn(*mask.shape, config.hidden_size))
        inputs_embeds = (scale * tokens).to(dtype).requires_grad_()
        attention_mask = torch.from_numpy(mask)[:, : tokens.shape[1]]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert_trains(model, inputs_embeds=inputs_embeds, attention_mask=attention_mask)
        assert inputs_embeds.grad.isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_long_text_gives_finite_losses_and_gradients(self, operation, dtype):
        model = tiny_model(wave_operation=operation, local_kernel_size=3).to(dtype)
        assert_trains(model, input_ids=random_ids(1, 20_000))

    @pytest.mark.parametrize("autocast", [False, True])
    @given(
        head=st.sampled_from(HEADS),
        config=configs(
            hidden_size=st.just(64),
            initializer_range=st.just(0.05),
            num_hidden_layers=st.just(1),
            # Both amplify what bfloat16 rounds: all scaled waves have one magnitude, in which tokens differ little.
            scale_waves=st.just(False),
            update_norm=st.just(False),
        ),
    )
    @settings(max_examples=100)
    def test_bfloat16_gives_nearly_the_same_logits(self, autocast, head, config):
        torch.manual_seed(0)
        model = head(config).eval()
        input_ids = random_ids(4, 12)
        expected = scores(model, input_ids=input_ids)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = scores(model if autocast else model.to(torch.bfloat16), input_ids=input_ids)
        assert_close(logits.float(), expected, atol=3e-2, rtol=0)


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


class TestWordOrder:
    @pytest.mark.parametrize(
        ("part", "matters"),
        [
            ({}, False),
            ({"local_kernel_size": 3}, True),
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


class TestOperations:
    def test_each_layer_has_its_own(self):
        operations = [*OPERATIONS, ["modulation", "interference"], ["interference", "modulation"]]
        models = [tiny_model(wave_operation=operation, num_hidden_layers=2) for operation in operations]
        logits = [model(random_ids(1, 6)).logits for model in models]
        # The networks have the same weights.
        assert_close(models[0].state_dict(), models[-1].state_dict())
        assert not any(torch.allclose(one, other, **SAME) for one, other in itertools.combinations(logits, 2))

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_one_stands_for_all_layers(self, operation):
        listed = tiny_model(wave_operation=[operation] * 2, num_hidden_layers=2)
        model = tiny_model(wave_operation=operation, num_hidden_layers=2)
        assert torch.equal(listed(random_ids(1, 6)).logits, model(random_ids(1, 6)).logits)


class TestCost:
    """What a training step costs grows by the same amount with every token."""

    @staticmethod
    def step(length, head, config, count):
        model = head(config)
        inputs = training_inputs(model, input_ids=random_ids(2, length))
        with count:
            model(**inputs).loss.backward()

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
    def test_ids_without_a_row_are_told_with_the_size_of_the_table(self, token_id):
        with pytest.raises(IndexError, match=rf"between .*{token_id}.*vocab_size=32"):
            tiny_model()(torch.tensor([[token_id, 5]]))

    def test_position_table_limits_the_length(self):
        model = tiny_model(max_position_embeddings=4)
        assert model(random_ids(1, 4)).logits.isfinite().all()
        with pytest.raises(ValueError, match="max_position_embeddings"):
            model(random_ids(1, 5))


class TestOutputs:
    @pytest.mark.parametrize("depth", [1, 3])
    def test_hidden_states_lead_from_the_embeddings_to_the_last_one(self, depth):
        model = tiny_model(model_class=WaveModel, num_hidden_layers=depth, embedding_size=4)
        output = model(random_ids(2, 5), output_hidden_states=True)
        assert [hidden.shape for hidden in output.hidden_states] == [(2, 5, 8)] * (depth + 1)
        assert torch.equal(output.hidden_states[-1], output.last_hidden_state)

    @pytest.mark.parametrize("head", HEADS)
    def test_hidden_states_come_if_asked_for(self, head):
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


# Of each problem: its name, its labels for a batch of 4, and the loss torch computes for them.
PROBLEMS = [
    ("single_label_classification", torch.tensor([0, 2, 1, 0]), nn.CrossEntropyLoss()),
    ("multi_label_classification", torch.eye(4)[:, :3], nn.BCEWithLogitsLoss()),
    ("regression", torch.linspace(-1, 1, 12).view(4, 3), nn.MSELoss()),
]


class TestLoss:
    @pytest.mark.parametrize(("problem_type", "labels", "loss_function"), PROBLEMS)
    def test_is_that_of_torch(self, problem_type, labels, loss_function):
        output = tiny_model(problem_type=problem_type)(random_ids(4, 5), labels=labels)
        assert_close(output.loss, loss_function(output.logits, labels))

    @pytest.mark.parametrize(
        ("labels", "num_labels", "problem_type"),
        [
            (torch.tensor([0, 2]), 3, "single_label_classification"),
            (torch.eye(3)[:2], 3, "multi_label_classification"),
            (torch.tensor([0.5, -0.5]), 1, "regression"),
        ],
    )
    def test_labels_tell_the_problem(self, labels, num_labels, problem_type):
        told, untold = tiny_model(num_labels=num_labels, problem_type=problem_type), tiny_model(num_labels=num_labels)
        losses = [model(random_ids(2, 5), labels=labels).loss for model in (told, untold)]
        assert_close(*losses)

    @pytest.mark.parametrize("problem_type", [problem_type for problem_type, _, _ in PROBLEMS])
    @given(config=configs(type_vocab_size=st.just(0)))
    @settings(max_examples=20)
    def test_of_each_problem_reaches_every_parameter(self, problem_type, config):
        config.problem_type = problem_type
        labels = {problem: labels for problem, labels, _ in PROBLEMS}[problem_type]
        self.assert_reaches_all(tiny_model(config), input_ids=random_ids(4, 5), labels=labels)

    @pytest.mark.parametrize("head", HEADS)
    @given(config=configs(type_vocab_size=st.just(0)))
    @settings(max_examples=20)
    def test_of_each_head_reaches_every_parameter(self, head, config):
        model = tiny_model(config, head)
        # With one side only, a bias would raise the scores of all choices alike.
        texts = {"input_ids": random_ids(4, 5), "token_type_ids": random_ids(4, 5, seed=1) % 2}
        self.assert_reaches_all(model, **training_inputs(model, **texts))

    def assert_reaches_all(self, model, **inputs):
        found = gradients(model.train(), **inputs)
        assert [name for name, gradient in found.items() if not gradient.any()] == []

    @pytest.mark.parametrize("head", HEADS)
    def test_without_labels_is_zero_and_has_a_gradient_of_zero(self, head):
        model = tiny_model(model_class=head)
        inputs = training_inputs(model, input_ids=random_ids(4, 5))
        ignored = {name: torch.full_like(value, -100) for name, value in inputs.items() if name != "input_ids"}
        assert model(**inputs | ignored).loss == 0
        assert not any(gradient.any() for gradient in gradients(model, **inputs | ignored).values())

    @pytest.mark.parametrize("head", HEADS)
    @pytest.mark.parametrize(
        "damage",
        [
            lambda labels: labels[..., None].expand(*labels.shape, 2),
            lambda labels: torch.cat((labels, labels)),
            lambda labels: labels.float(),
        ],
        ids=["too many dimensions", "too many", "no integers"],
    )
    def test_names_labels_of_another_shape_or_kind(self, head, damage):
        model = tiny_model(model_class=head, problem_type="single_label_classification")
        inputs = training_inputs(model, input_ids=random_ids(4, 5))
        for name in inputs.keys() - {"input_ids"}:
            message = rf"^{name} is torch.* of the shape \(.*\), but should be torch.int64 of the shape \("
            with pytest.raises(ValueError, match=message):
                model(**inputs | {name: damage(inputs[name])})

    @pytest.mark.parametrize("head", [head for head in HEADS if head is not WaveForQuestionAnswering])
    @pytest.mark.parametrize("wrong", [-1, VOCAB_SIZE])
    def test_names_labels_that_are_no_class(self, head, wrong):
        model = tiny_model(model_class=head)
        inputs = training_inputs(model, input_ids=random_ids(4, 5))
        inputs["labels"].view(-1)[0] = wrong
        with pytest.raises(ValueError, match=rf"^labels lie between .*{wrong}.*, but should be classes from 0 to \d+"):
            model(**inputs)

    @pytest.mark.parametrize("head", [WaveForTokenClassification, WaveForMaskedLM])
    def test_of_tokens_is_a_mean_over_those_with_labels(self, head):
        model = tiny_model(model_class=head)
        input_ids, labels = random_ids(2, 5), random_ids(2, 5, seed=1) % 3
        labels[0, 1:] = -100
        output = model(input_ids, labels=labels)
        expected = nn.functional.cross_entropy(output.logits[labels != -100], labels[labels != -100])
        assert_close(output.loss, expected)
        for count in (12, torch.tensor(12)):
            assert_close(model(input_ids, labels=labels, num_items_in_batch=count).loss, expected * 6 / 12)

    @pytest.mark.parametrize("head", [WaveForTokenClassification, WaveForMaskedLM])
    def test_of_tokens_does_not_need_the_logits_of_the_others(self, head):
        model = tiny_model(**ALL_PARTS, model_class=head)
        inputs = training_inputs(model, input_ids=random_ids(2, 5))
        inputs["labels"][:, 1:4] = -100
        logits, expected = model(**inputs).logits, gradients(model, **inputs)
        model.config.sparse_prediction = True
        assert torch.equal(model(**inputs).logits, logits)
        assert_close(gradients(model.train(), **inputs), expected)
        assert_close(model(**inputs).logits, logits[inputs["labels"] != -100])


class TestPairs:
    first, second = random_ids(2, 3, seed=1), random_ids(2, 5, seed=2)

    def logits(self, model, *sides):
        types = [torch.full_like(side, number) for number, side in enumerate(sides)]
        return model(torch.cat(sides, dim=1), token_type_ids=torch.cat(types, dim=1)).logits

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_each_side_is_read_as_if_it_were_alone(self, pooling):
        model = tiny_model(pair_encoding="separate", pooling=pooling, local_kernel_size=3, max_position_embeddings=8)
        a, b = (model.wave(side).pooler_output for side in (self.first, self.second))
        expected = model.classifier(torch.cat((a * b, (a - b).abs()), dim=-1))
        assert_close(self.logits(model, self.first, self.second), expected, **SAME)

    def test_order_of_the_sides_does_not_matter(self):
        model = tiny_model(pair_encoding="separate")
        both = self.logits(model, self.first, self.second)
        assert_close(self.logits(model, self.second, self.first), both, **SAME)
        assert not torch.allclose(self.logits(model, self.first, self.first), both, **SAME)

    def test_missing_tokens_are_named(self):
        with pytest.raises(ValueError, match="input_ids or inputs_embeds"):
            tiny_model(pair_encoding="separate")()

    def test_text_without_token_types_has_an_empty_second_side(self):
        model = tiny_model(pair_encoding="separate")
        assert_close(model(self.first).logits, self.logits(model, self.first), **SAME)
        assert model(self.first).logits.isfinite().all()


class TestMultipleChoice:
    def test_choices_of_unequal_length_are_read_as_if_they_were_alone(self):
        model = tiny_model(**ALL_PARTS, model_class=WaveForMultipleChoice)
        input_ids, mask = random_ids(2, 3, 6), torch.ones(2, 3, 6, dtype=torch.long)
        mask[0, 0, 4:] = mask[0, 2, :3] = mask[1, 1, 1:] = 0
        logits = model(input_ids, mask).logits
        for question, choice in itertools.product(range(2), range(3)):
            alone = model(input_ids[question, choice, mask[question, choice] == 1][None, None]).logits
            assert_close(logits[question, choice], alone[0, 0], **SAME)

    def test_position_ids_can_be_given(self):
        model = tiny_model(max_position_embeddings=8, model_class=WaveForMultipleChoice)
        input_ids, places = random_ids(2, 3, 6), torch.arange(6).expand(2, 3, 6)
        assert torch.equal(model(input_ids, position_ids=places).logits, model(input_ids).logits)
        assert not torch.allclose(model(input_ids, position_ids=places + 1).logits, model(input_ids).logits, **SAME)

    def test_sides_can_be_compared(self):
        classify, choose = (
            tiny_model(pair_encoding="separate", num_labels=1, model_class=head)
            for head in (WaveForSequenceClassification, WaveForMultipleChoice)
        )
        choose.load_state_dict(classify.state_dict(), strict=False)
        input_ids, types = random_ids(2, 6), torch.tensor([[0, 0, 1, 1, 1, 1]]).expand(2, 6)
        expected = classify(input_ids, token_type_ids=types).logits - classify.classifier.bias
        assert_close(choose(input_ids[None], token_type_ids=types[None]).logits, expected.T, **SAME)


class TestMaskedLM:
    @pytest.mark.parametrize("embedding_size", [None, 4])
    def test_logits_are_products_with_the_rows_of_the_token_table(self, embedding_size):
        model = tiny_model(embedding_size=embedding_size, model_class=WaveForMaskedLM)
        hidden_states = model.wave(random_ids(2, 5)).last_hidden_state
        expected = model.head(hidden_states) @ model.get_input_embeddings().weight.T + model.decoder.bias
        assert_close(model(random_ids(2, 5)).logits, expected)

    @pytest.mark.parametrize("tie_word_embeddings", [True, False])
    def test_shares_the_token_table_if_wanted(self, tie_word_embeddings):
        model = WaveForMaskedLM(tiny_config(tie_word_embeddings=tie_word_embeddings))
        is_shared = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert is_shared == tie_word_embeddings

    def test_token_that_the_collator_masked_and_its_label_change_no_logit(self):
        def collate(input_ids):
            torch.manual_seed(0)
            return DataCollatorForLanguageModeling(TOKENIZER, mlm_probability=0.5)(list(input_ids))

        specials, size = len(SPECIAL_TOKENS), len(TOKENIZER)
        model = tiny_model(**ALL_PARTS, vocab_size=size, model_class=WaveForMaskedLM)
        input_ids = random_ids(8, 12) % (size - specials) + specials
        batch = collate(input_ids)
        is_masked = batch["input_ids"] == TOKENIZER.mask_token_id
        assert 0 < is_masked.sum() < (batch["labels"] != -100).sum()  # the others were kept, or replaced at random
        other = collate(torch.where(is_masked, (input_ids + 1 - specials) % (size - specials) + specials, input_ids))
        assert (other["labels"] != batch["labels"])[is_masked].all()
        assert torch.equal(model(**other).logits, model(**batch).logits)

    @pytest.mark.parametrize(
        ("part", "differ"), [({}, False), ({"local_kernel_size": 3}, True), ({"max_position_embeddings": 6}, True)]
    )
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_masked_places_of_one_text_differ_with_a_kernel_or_positions(self, operation, part, differ, caplog):
        type(logger).warning_once.cache_clear()
        with caplog.at_level("WARNING"):
            model = tiny_model(wave_operation=operation, residual=True, **part, model_class=WaveForMaskedLM)
        logits = model(torch.tensor([[2, 4, 7, 8, 4, 3]])).logits
        assert torch.allclose(logits[0, 1], logits[0, 4], **SAME) != differ
        # Who would train such a network is told what it lacks.
        told = [record.message for record in caplog.records]
        assert [("local_kernel_size" in text, "max_position_embeddings" in text) for text in told] == (
            [] if differ else [(True, True)]
        )


class TestQuestionAnswering:
    input_ids, mask = random_ids(2, 6), torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0]])

    @pytest.fixture
    def model(self):
        return tiny_model(**ALL_PARTS, model_class=WaveForQuestionAnswering)

    def test_loss_is_the_mean_of_both_cross_entropies(self, model):
        starts, ends = torch.tensor([1, 1]), torch.tensor([5, 3])
        output = model(self.input_ids, start_positions=starts, end_positions=ends)
        parts = zip((output.start_logits, output.end_logits), (starts, ends), strict=True)
        assert_close(output.loss, sum(nn.functional.cross_entropy(*part) for part in parts) / 2)

    @pytest.mark.parametrize("outside", [-1, 0, 4, 6, 1000])
    def test_answers_outside_the_text_are_ignored(self, outside, model):
        answers = {name: torch.tensor([2, outside]) for name in ("start_positions", "end_positions")}
        alone = model(self.input_ids[:1], **{name: positions[:1] for name, positions in answers.items()})
        assert_close(model(self.input_ids, self.mask, **answers).loss, alone.loss)

    def test_padding_changes_no_loss_and_is_never_an_answer(self, model):
        padded = model(
            self.input_ids, self.mask, start_positions=torch.tensor([-1, 1]), end_positions=torch.tensor([-1, 3])
        )
        cut = {"start_positions": torch.tensor([0]), "end_positions": torch.tensor([2])}
        assert_close(padded.loss, model(self.input_ids[1:, 1:4], **cut).loss)
        for logits in (padded.start_logits, padded.end_logits):
            assert (logits.softmax(dim=-1)[self.mask == 0] == 0).all()


class TestTransformations:
    def test_padding_token_stays_zero(self):
        model = WaveForSequenceClassification(tiny_config(pad_token_id=3))
        model(torch.tensor([[3, 4]]), labels=torch.tensor([0])).loss.backward()
        table = model.get_input_embeddings().weight
        table.data -= table.grad
        assert (table[3] == 0).all()
        assert table[4].any()

    # Newer versions of transformers have another name for the method, the oldest one that we support has not.
    @pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable.:FutureWarning")
    @pytest.mark.parametrize("use_reentrant", [False, True])
    @pytest.mark.parametrize("head", HEADS)
    def test_gradient_checkpointing_changes_no_gradient(self, head, use_reentrant):
        model = tiny_model(**ALL_PARTS, hidden_dropout_prob=0.1, model_class=head).train()
        inputs = training_inputs(model, input_ids=random_ids(2, 6))
        torch.manual_seed(0)
        expected = gradients(model, **inputs)
        model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        torch.manual_seed(0)
        assert_close(gradients(model, **inputs), expected)

    @pytest.mark.parametrize("transform", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    @pytest.mark.parametrize("head", HEADS)
    def test_copies_give_the_same_logits(self, head, transform):
        model, input_ids = tiny_model(**ALL_PARTS, model_class=head), random_ids(2, 6)
        assert torch.equal(scores(transform(model), input_ids=input_ids), scores(model, input_ids=input_ids))

    @pytest.mark.parametrize("embedding_size", [None, 4])
    @pytest.mark.parametrize("head", HEADS)
    def test_vocabulary_can_grow(self, head, embedding_size):
        model = tiny_model(embedding_size=embedding_size, model_class=head)
        logits = scores(model, input_ids=random_ids(2, 6))
        model.resize_token_embeddings(VOCAB_SIZE + 3)
        assert model.config.vocab_size == VOCAB_SIZE + 3
        grown = scores(model, input_ids=random_ids(2, 6))
        assert_close(grown[..., : logits.shape[-1]], logits)
        assert grown.shape[-1] == (VOCAB_SIZE + 3 if head is WaveForMaskedLM else logits.shape[-1])
        assert scores(model, input_ids=torch.tensor([[VOCAB_SIZE + 2]])).isfinite().all()

    @pytest.mark.skipif(Version("2.8") > TORCH, reason="torch 2.7 cannot trace the loss functions of transformers")
    @pytest.mark.parametrize("parts", [{}, ALL_PARTS])
    @pytest.mark.parametrize("head", HEADS)
    def test_compiling_in_one_graph_changes_nothing(self, head, parts, mask):
        # The backend runs the graphs as they are: it is the capture of forward and backward that is ours to keep.
        torch.compiler.reset()  # the graphs of other networks count towards the limit of recompilations
        model = tiny_model(**parts, model_class=head)
        inputs = training_inputs(model, input_ids=random_ids(2, 6), attention_mask=mask)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert_close(output_scores(compiled(**inputs)), output_scores(model(**inputs)), **SAME)
        expected = gradients(model, **inputs)
        model.zero_grad()
        compiled(**inputs).loss.backward()
        assert_close({name: parameter.grad for name, parameter in model.named_parameters()}, expected, **SAME)

    @pytest.mark.skipif(Version("2.10") > TORCH, reason="torch before 2.10 exports no autograd function of any length")
    @pytest.mark.parametrize("parts", [{}, ALL_PARTS])
    @pytest.mark.parametrize("head", HEADS)
    def test_exported_program_takes_any_batch_and_length(self, head, parts):
        model = tiny_model(**parts, model_class=head)
        batches = []
        for shape in [(2, 2, 6), (3, 4, 9)] if head is WaveForMultipleChoice else [(2, 6), (3, 9)]:
            mask = torch.ones(shape, dtype=torch.long)
            mask[0, ..., :2] = 0
            batches.append({"input_ids": random_ids(*shape), "attention_mask": mask})
        sizes = dict.fromkeys(range(len(shape)), torch.export.Dim.DYNAMIC)
        shapes = dict.fromkeys(batches[0], sizes)
        program = torch.export.export(model, (), batches[0], dynamic_shapes=shapes).module()
        for batch in batches:
            assert_close(output_scores(program(**batch)), output_scores(model(**batch)), **SAME)


class TestSaving:
    @pytest.mark.parametrize("head", HEADS)
    @pytest.mark.parametrize("tie_word_embeddings", [True, False])
    def test_loaded_network_is_the_saved_one(self, head, tie_word_embeddings, tmp_path):
        id2label = {0: "sports", 1: "business", 2: "science"}
        fields = ALL_PARTS | {"id2label": id2label, "tie_word_embeddings": tie_word_embeddings}
        model = tiny_model(**fields, model_class=head)
        model.save_pretrained(tmp_path)
        loaded = head.from_pretrained(tmp_path, device_map="cpu")
        assert torch.equal(scores(loaded, input_ids=random_ids(2, 6)), scores(model, input_ids=random_ids(2, 6)))
        assert loaded.config.id2label == id2label

    @pytest.mark.parametrize("head", HEADS)
    def test_loads_in_half_precision(self, head, tmp_path):
        model = tiny_model(**ALL_PARTS, model_class=head)
        model.save_pretrained(tmp_path)
        loaded = head.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
        expected = scores(model.to(torch.bfloat16), input_ids=random_ids(2, 6))
        assert torch.equal(scores(loaded, input_ids=random_ids(2, 6)), expected)

    def test_new_head_on_an_old_body(self, tmp_path):
        model = tiny_model()
        model.save_pretrained(tmp_path)
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path, num_labels=7, ignore_mismatched_sizes=True)
        assert loaded(random_ids(2, 6)).logits.shape == (2, 7)
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())

    @pytest.mark.parametrize(
        ("head", "names"),
        [
            (WaveForSequenceClassification, ["classifier.bias", "classifier.weight"]),
            (WaveForMultipleChoice, ["classifier.weight"]),
            (WaveForTokenClassification, ["classifier.bias", "classifier.weight"]),
            (
                WaveForMaskedLM,
                ["decoder.bias", "head.dense.bias", "head.dense.weight", "head.norm.bias", "head.norm.weight"],
            ),
            (WaveForQuestionAnswering, ["qa_outputs.weight"]),
        ],
    )
    def test_weights_of_heads_keep_their_names(self, head, names, tmp_path):
        tiny_model(model_class=head).save_pretrained(tmp_path)
        with safe_open(tmp_path / "model.safetensors", "pt") as file:
            assert sorted(name for name in file.keys() if not name.startswith("wave.")) == names  # noqa: SIM118

    @pytest.mark.parametrize("head", HEADS)
    def test_body_and_head_load_each_other(self, head, tmp_path):
        model = tiny_model(model_class=head)
        model.save_pretrained(tmp_path / "head")
        body = WaveModel.from_pretrained(tmp_path / "head")
        body.save_pretrained(tmp_path / "body")
        loaded = head.from_pretrained(tmp_path / "body")
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())

    @pytest.mark.parametrize("tie_word_embeddings", [True, False])
    @pytest.mark.parametrize("head", HEADS)
    def test_head_starts_from_the_body_that_learnt_to_fill_masks(self, head, tie_word_embeddings, tmp_path):
        model = tiny_model(**ALL_PARTS, model_class=WaveForMaskedLM, tie_word_embeddings=tie_word_embeddings)
        model.save_pretrained(tmp_path)
        loaded, loading = head.from_pretrained(tmp_path, output_loading_info=True)
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())
        assert [name for name in loading["missing_keys"] if name.startswith("wave.")] == []

    def test_pickled_weights_are_refused(self, tmp_path):
        model = tiny_model()
        model.save_pretrained(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        with pytest.raises(OSError, match="safetensors"):
            WaveForSequenceClassification.from_pretrained(tmp_path)

    @pytest.mark.parametrize("max_shard_size", ["5GB", "1KB"])
    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"",
            lambda content: content[:-1],
            lambda content: b"\xff" * 8 + content[8:],
            lambda content: content.replace(b'"F32"', b'"F33"'),
        ],
        ids=["empty", "cut off", "length of the header", "header"],
    )
    def test_damaged_file_is_named(self, damage, max_shard_size, tmp_path):
        tiny_model().save_pretrained(tmp_path, max_shard_size=max_shard_size)
        file = sorted(tmp_path.glob("*.safetensors"))[-1]
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(OSError, match=f"^{file} is cut off or damaged"):
            WaveForSequenceClassification.from_pretrained(tmp_path)

    @pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.name)
    def test_networks_of_older_versions_are_read_and_give_the_same_logits(self, folder):
        expected = json.loads((folder / "logits.json").read_text())
        model = WaveForSequenceClassification.from_pretrained(folder)
        logits = model(**{name: torch.tensor(rows) for name, rows in expected["inputs"].items()}).logits
        assert_close(logits, torch.tensor(expected["logits"]), **SAME)
