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
    OPERATIONS,
    POOLINGS,
    READOUTS,
    VOCAB_SIZE,
    configs,
    random_ids,
    tiny_config,
    tiny_model,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from packaging.version import Version
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from wave_hf import WaveConfig, WaveForSequenceClassification, WaveLayer, WaveModel, reference

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
    batch = next(iter(inputs.values())).shape[0]
    loss = model(**inputs, labels=torch.arange(batch) % model.num_labels).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


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
    @given(config=configs(), texts=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=1, max_size=3))
    @settings(max_examples=100)
    def test_text_gives_the_same_logits_alone_as_padded_in_a_batch(self, config, texts):
        model = tiny_model(config)
        length = max(sum(text) for text in texts) + 1
        input_ids, token_type_ids = random_ids(len(texts), length), random_ids(len(texts), length, seed=1) % 2
        mask = torch.zeros_like(input_ids)
        for row, (tokens, left) in zip(mask, texts, strict=True):
            row[left : left + tokens] = 1
        inputs = input_ids, mask, token_type_ids
        batched = model(*inputs).logits
        for row, (ids, is_real, types) in enumerate(zip(input_ids, mask == 1, token_type_ids, strict=True)):
            alone = model(ids[None, is_real], token_type_ids=types[None, is_real]).logits
            assert_close(batched[row : row + 1], alone, **SAME)

    @given(config=configs(), junk=st.sampled_from([1e30, torch.inf, -torch.inf, torch.nan]))
    def test_no_embedding_under_the_mask_matters(self, config, junk):
        model = tiny_model(config)
        mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]])
        input_ids = random_ids(2, 5)
        inputs_embeds = model.get_input_embeddings()(input_ids).detach()
        inputs_embeds[mask == 0] = junk
        logits = model(inputs_embeds=inputs_embeds, attention_mask=mask).logits
        assert_close(logits, model(input_ids, mask).logits, **SAME)
        assert_trains(model, inputs_embeds=inputs_embeds, attention_mask=mask)

    @pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float])
    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_no_mask_means_that_all_tokens_are_real(self, pooling, dtype):
        model = tiny_model(**ALL_PARTS, pooling=pooling)
        input_ids = random_ids(2, 6)
        assert_close(model(input_ids).logits, model(input_ids, torch.ones(2, 6, dtype=dtype)).logits, **SAME)

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

    @given(config=configs())
    def test_text_without_real_tokens_pools_to_zeros(self, config):
        model = tiny_model(config)
        input_ids, mask = random_ids(2, 4), torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])
        assert (model.wave(input_ids, mask).pooler_output[1] == 0).all()
        assert_close(model(input_ids, mask).logits[:1], model(input_ids[:1]).logits, **SAME)
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
    @given(config=no_table, text=st.sampled_from(list(TEXTS)), mask=masks, scale=scales)
    @settings(max_examples=150)
    def test_losses_and_gradients_are_finite(self, dtype, autocast, config, text, mask, scale):
        self.assert_text_trains(config, text, mask, scale, dtype, autocast)

    @given(config=no_table, text=st.sampled_from(list(TEXTS)), mask=masks)
    @settings(max_examples=150)
    def test_losses_and_gradients_are_finite_in_float16(self, config, text, mask):
        self.assert_text_trains(config, text, mask, 1.0, torch.float16)

    def assert_text_trains(self, config, text, mask, scale, dtype, autocast=False):
        torch.manual_seed(0)
        model = WaveForSequenceClassification(config).to(dtype)
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
    @given(config=configs(hidden_size=st.just(64), initializer_range=st.just(0.05), num_hidden_layers=st.just(1)))
    def test_bfloat16_gives_nearly_the_same_logits(self, autocast, config):
        torch.manual_seed(0)
        model = WaveForSequenceClassification(config).eval()
        input_ids = random_ids(4, 12)
        expected = model(input_ids).logits
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = (model if autocast else model.to(torch.bfloat16))(input_ids).logits
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
    def step(length, config, count):
        model = WaveForSequenceClassification(config)
        with count:
            model(random_ids(2, length), labels=torch.tensor([0, 1])).loss.backward()

    @given(config=configs(max_position_embeddings=st.none()))
    @settings(max_examples=10)
    def test_operations_are_linear_in_the_length(self, config):
        def flops(length):
            counter = FlopCounterMode(display=False)
            self.step(length, config, counter)
            return counter.get_total_flops()

        assert flops(300) - flops(200) == flops(200) - flops(100) > 0

    @given(config=configs(max_position_embeddings=st.none()))
    @settings(max_examples=10)
    def test_memory_is_linear_in_the_length(self, config):
        def saved_bytes(length):
            sizes = []
            count = saved_tensors_hooks(lambda tensor: sizes.append(tensor.nbytes) or tensor, lambda tensor: tensor)
            self.step(length, config, count)
            return sum(sizes)

        assert saved_bytes(300) - saved_bytes(200) == saved_bytes(200) - saved_bytes(100) > 0


class TestInputs:
    @given(config=configs())
    def test_embeddings_stand_for_their_ids(self, config):
        model = tiny_model(config)
        input_ids = random_ids(2, 5)
        inputs_embeds = model.get_input_embeddings()(input_ids)
        assert torch.equal(model(inputs_embeds=inputs_embeds).logits, model(input_ids).logits)

    @pytest.mark.parametrize("inputs", [{}, {"input_ids": random_ids(1, 4), "inputs_embeds": torch.ones(1, 4, 8)}])
    def test_ids_and_embeddings_exclude_each_other(self, inputs):
        with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
            tiny_model()(**inputs)

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

    def test_hidden_states_come_if_asked_for(self):
        model = tiny_model()
        assert model(random_ids(2, 5)).hidden_states is None
        assert len(model(random_ids(2, 5), output_hidden_states=True).hidden_states) == 2

    def test_outputs_can_be_a_tuple(self):
        model, labels = tiny_model(), torch.tensor([0, 1])
        expected = model(random_ids(2, 5), labels=labels)
        loss, logits = model(random_ids(2, 5), labels=labels, return_dict=False)
        assert torch.equal(loss, expected.loss)
        assert torch.equal(logits, expected.logits)


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

    @pytest.mark.parametrize(("problem_type", "labels", "_"), PROBLEMS)
    @given(config=configs(type_vocab_size=st.just(0)))
    @settings(max_examples=20)
    def test_reaches_every_parameter(self, problem_type, labels, _, config):
        config.problem_type = problem_type
        found = gradients(tiny_model(config).train(), input_ids=random_ids(4, 5), labels=labels)
        assert [name for name, gradient in found.items() if not gradient.any()] == []


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
    def test_gradient_checkpointing_changes_no_gradient(self, use_reentrant):
        model = tiny_model(**ALL_PARTS, hidden_dropout_prob=0.1).train()
        inputs = {"input_ids": random_ids(2, 6), "labels": torch.tensor([0, 1])}
        torch.manual_seed(0)
        expected = gradients(model, **inputs)
        model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        torch.manual_seed(0)
        assert_close(gradients(model, **inputs), expected)

    @pytest.mark.parametrize("transform", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_copies_give_the_same_logits(self, transform):
        model = tiny_model(**ALL_PARTS)
        assert torch.equal(transform(model)(random_ids(2, 6)).logits, model(random_ids(2, 6)).logits)

    @pytest.mark.parametrize("embedding_size", [None, 4])
    def test_vocabulary_can_grow(self, embedding_size):
        model = tiny_model(embedding_size=embedding_size)
        logits = model(random_ids(2, 6)).logits
        model.resize_token_embeddings(VOCAB_SIZE + 3)
        assert model.config.vocab_size == VOCAB_SIZE + 3
        assert torch.equal(model(random_ids(2, 6)).logits, logits)
        assert model(torch.tensor([[VOCAB_SIZE + 2]])).logits.isfinite().all()

    @pytest.mark.skipif(Version("2.8") > TORCH, reason="torch 2.7 cannot trace the loss functions of transformers")
    @pytest.mark.parametrize("parts", [{}, ALL_PARTS])
    def test_compiling_in_one_graph_changes_nothing(self, parts, mask):
        # The backend runs the graphs as they are: it is the capture of forward and backward that is ours to keep.
        torch.compiler.reset()  # the graphs of other networks count towards the limit of recompilations
        model = tiny_model(**parts)
        inputs = {"input_ids": random_ids(2, 6), "attention_mask": mask, "labels": torch.tensor([0, 1])}
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert_close(compiled(**inputs).logits, model(**inputs).logits, **SAME)
        expected = gradients(model, **inputs)
        model.zero_grad()
        compiled(**inputs).loss.backward()
        assert_close({name: parameter.grad for name, parameter in model.named_parameters()}, expected, **SAME)

    @pytest.mark.skipif(Version("2.10") > TORCH, reason="torch before 2.10 exports no autograd function of any length")
    @pytest.mark.parametrize("parts", [{}, ALL_PARTS])
    def test_exported_program_takes_any_batch_and_length(self, parts, mask):
        model = tiny_model(**parts)
        inputs = {"input_ids": random_ids(2, 6), "attention_mask": mask}
        sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, sizes)).module()
        other = {"input_ids": random_ids(3, 9), "attention_mask": torch.ones(3, 9, dtype=torch.long)}
        for batch in (inputs, other):
            assert_close(program(**batch).logits, model(**batch).logits, **SAME)


class TestSaving:
    def test_loaded_network_is_the_saved_one(self, tmp_path):
        id2label = {0: "sports", 1: "business", 2: "science"}
        model = tiny_model(**ALL_PARTS, id2label=id2label)
        model.save_pretrained(tmp_path)
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path, device_map="cpu")
        assert torch.equal(loaded(random_ids(2, 6)).logits, model(random_ids(2, 6)).logits)
        assert loaded.config.id2label == id2label

    def test_loads_in_half_precision(self, tmp_path):
        model = tiny_model(**ALL_PARTS)
        model.save_pretrained(tmp_path)
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
        assert torch.equal(loaded(random_ids(2, 6)).logits, model.to(torch.bfloat16)(random_ids(2, 6)).logits)

    def test_new_head_on_an_old_body(self, tmp_path):
        model = tiny_model()
        model.save_pretrained(tmp_path)
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path, num_labels=7, ignore_mismatched_sizes=True)
        assert loaded(random_ids(2, 6)).logits.shape == (2, 7)
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())

    def test_body_and_head_load_each_other(self, tmp_path):
        model = tiny_model()
        model.save_pretrained(tmp_path / "head")
        body = WaveModel.from_pretrained(tmp_path / "head")
        body.save_pretrained(tmp_path / "body")
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path / "body")
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())

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
