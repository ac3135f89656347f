"""Tests that copied, compiled, exported and checkpointed networks compute the same as the original."""

import copy
import pickle

import pytest
import torch
from builders import (
    ALL_PARTS,
    HEADS,
    SAME,
    VOCAB_SIZE,
    gradients,
    output_scores,
    random_ids,
    scores,
    tiny_config,
    tiny_model,
    training_inputs,
)
from packaging.version import Version
from torch.testing import assert_close

from wave_hf import (
    WaveForMaskedLM,
    WaveForMultipleChoice,
    WaveForSequenceClassification,
)

TORCH = Version(torch.__version__)


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

    @pytest.mark.slow
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

    @pytest.mark.slow
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
