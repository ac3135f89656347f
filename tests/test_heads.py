"""Tests of the heads: their losses, and what each predicts."""

import itertools

import pytest
import torch
from builders import (
    ALL_PARTS,
    HEADS,
    OPERATIONS,
    POOLINGS,
    SAME,
    SPECIAL_TOKENS,
    TOKENIZER,
    VOCAB_SIZE,
    configs,
    gradients,
    random_ids,
    tiny_config,
    tiny_model,
    training_inputs,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from transformers import DataCollatorForLanguageModeling

from wave_hf import (
    WaveForMaskedLM,
    WaveForMultipleChoice,
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveForTokenClassification,
)
from wave_hf.modeling_wave import logger

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
    def test_problem_is_inferred_from_the_labels(self, labels, num_labels, problem_type):
        models = tiny_model(num_labels=num_labels, problem_type=problem_type), tiny_model(num_labels=num_labels)
        losses = [model(random_ids(2, 5), labels=labels).loss for model in models]
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
    def test_names_labels_that_are_not_classes(self, head, wrong):
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
    def test_shares_the_token_table_if_configured(self, tie_word_embeddings):
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
        ("part", "differ"),
        [
            ({}, False),
            ({"local_kernel_size": 3}, True),
            ({"variant_kernel_size": 3}, True),
            ({"max_position_embeddings": 6}, True),
        ],
    )
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_masked_places_of_one_text_differ_with_a_kernel_or_positions(self, operation, part, differ, caplog):
        type(logger).warning_once.cache_clear()
        with caplog.at_level("WARNING"):
            model = tiny_model(wave_operation=operation, residual=True, **part, model_class=WaveForMaskedLM)
        logits = model(torch.tensor([[2, 4, 7, 8, 4, 3]])).logits
        assert torch.allclose(logits[0, 1], logits[0, 4], **SAME) != differ
        warnings = [record.message for record in caplog.records]
        assert [("local_kernel_size" in text, "max_position_embeddings" in text) for text in warnings] == (
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
