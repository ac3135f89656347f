"""Tests with libraries around transformers, PEFT and sentence-transformers."""

import pytest
import torch
from builders import output_scores, random_ids, tiny_config, tiny_model, training_inputs
from torch.testing import assert_close

from wave_hf import (
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveForTokenClassification,
    WaveModel,
    train_tokenizer,
)

TEXTS = ["one wave and two waves", "an ocean of waves", "one ocean"]
HEAD_MODULES = ["classifier", "qa_outputs"]  # peft trains all of their weights
PEFT_TASKS = {
    "SEQ_CLS": WaveForSequenceClassification,
    "TOKEN_CLS": WaveForTokenClassification,
    "QUESTION_ANS": WaveForQuestionAnswering,
}


class TestPeft:
    @pytest.fixture
    def peft(self):
        return pytest.importorskip("peft")

    @pytest.fixture(params=PEFT_TASKS)
    def task(self, request):
        return request.param

    def adapted(self, peft, task):
        config = peft.LoraConfig(task_type=task, target_modules="all-linear", exclude_modules=HEAD_MODULES, r=2)
        return peft.get_peft_model(tiny_model(model_class=PEFT_TASKS[task]), config)

    def train(self, model):
        batch = training_inputs(model.get_base_model(), input_ids=random_ids(4, 6))
        optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.5)
        losses = []
        for _ in range(10):
            losses.append(model(**batch).loss)
            losses[-1].backward()
            optimizer.step()
            optimizer.zero_grad()
        return losses

    def test_lora_trains_beside_frozen_weights(self, peft, task):
        model = self.adapted(peft, task)
        table = model.get_input_embeddings().weight.clone()
        losses = self.train(model)
        assert losses[-1] < losses[0]
        assert torch.equal(model.get_input_embeddings().weight, table)

    def test_adapter_is_saved_reloaded_and_merged(self, peft, task, tmp_path):
        model, head = self.adapted(peft, task), PEFT_TASKS[task]
        self.train(model)
        logits = output_scores(model.eval()(random_ids(2, 5)))
        model.save_pretrained(tmp_path)
        reloaded = peft.PeftModel.from_pretrained(tiny_model(model_class=head), tmp_path).eval()
        assert_close(output_scores(reloaded(random_ids(2, 5))), logits)
        merged = reloaded.merge_and_unload()
        assert isinstance(merged, head)
        assert_close(output_scores(merged(random_ids(2, 5))), logits, atol=1e-5, rtol=1e-4)


class TestSentenceTransformers:
    def test_saved_model_embeds_texts_by_mean_pooling(self, tmp_path):
        sentence_transformers = pytest.importorskip("sentence_transformers")
        tokenizer = train_tokenizer(TEXTS)
        model = tiny_model(tiny_config(vocab_size=len(tokenizer)), model_class=WaveModel)
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        # The library takes the limit of the config as a number, and this network has none.
        options = {"processor_kwargs": {"model_max_length": 32}, "device": "cpu"}
        encoder = sentence_transformers.SentenceTransformer(str(tmp_path), **options)
        expected = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).pooler_output
        assert_close(encoder.encode(TEXTS, convert_to_tensor=True), expected.detach(), atol=1e-5, rtol=1e-4)
