"""The recorded gradients are those of the loss, and recording does not change the training."""

import pytest
import torch
from builders import random_ids, tiny_config
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

from wave_hf import WaveForSequenceClassification, WaveModel
from wave_hf.analysis import GradientRecorder

ROWS = [{"input_ids": ids, "labels": i % 3} for i, ids in enumerate(random_ids(16, 6))]
MODELS = {
    "wave": lambda: WaveForSequenceClassification(tiny_config()),
    "pairs read separately": lambda: WaveForSequenceClassification(tiny_config(pair_encoding="separate")),
    "bert": lambda: BertForSequenceClassification(
        BertConfig(
            vocab_size=32,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            num_labels=3,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ),
}


def train(output_dir, model, recorder=None, **arguments) -> Trainer:
    defaults = {"max_steps": 1, "per_device_train_batch_size": 16, "train_sampling_strategy": "sequential"}
    options = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    trainer = Trainer(
        model,
        TrainingArguments(output_dir, **options, **(defaults | arguments)),
        train_dataset=ROWS,
        callbacks=[recorder] if recorder else None,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("kind", MODELS)
def test_records_the_gradients_of_the_loss(kind, tmp_path):
    set_seed(0)
    model = MODELS[kind]()
    ids = torch.stack([row["input_ids"] for row in ROWS])
    embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
    model(inputs_embeds=embeddings, labels=torch.arange(16) % 3).loss.backward()
    text, classifier = embeddings.grad, model.classifier.weight.grad.clone()
    model.zero_grad()

    recorder = GradientRecorder()
    train(tmp_path, model, recorder, max_grad_norm=1e-3)  # clipping comes later
    (recorded,) = recorder.history
    assert recorded["step"] == 1
    assert recorded["text_norm"] == pytest.approx(text.flatten(1).norm(dim=1).mean().item(), rel=1e-4)
    assert recorded["cls_norm"] == pytest.approx(text[:, 0].norm(dim=1).mean().item(), rel=1e-4)
    assert recorded["classifier_norm"] == pytest.approx(classifier.norm().item(), rel=1e-4)
    for name, gradient in {"text": text, "cls": text[:, 0], "classifier": classifier}.items():
        sizes = gradient.flatten(0, -2).square().mean(dim=0).sqrt()
        assert recorded[f"{name}_spread"] == pytest.approx((sizes.std(correction=0) / sizes.mean()).item(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_one_record_a_step_and_the_same_weights_as_without(kind, tmp_path):
    weights = []
    arguments = {"max_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    for recorder in (None, GradientRecorder()):
        set_seed(0)
        model = train(tmp_path, MODELS[kind](), recorder, **arguments).model
        weights.append(model.classifier.weight)
    assert [row["step"] for row in recorder.history] == [1, 2, 3]
    torch.testing.assert_close(*weights, atol=0, rtol=0)
    model.train()(ROWS[0]["input_ids"].unsqueeze(0), labels=torch.tensor([1])).loss.backward()
    assert len(recorder.history) == 3


def test_evaluation_is_not_recorded(tmp_path):
    recorder = GradientRecorder()
    trainer = Trainer(
        MODELS["wave"](),
        TrainingArguments(
            tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1, report_to="none", use_cpu=True, save_steps=9
        ),
        train_dataset=ROWS,
        eval_dataset=ROWS,
        callbacks=[recorder],
    )
    trainer.train()
    assert len(recorder.history) == 2


def test_spread_is_zero_if_all_dimensions_get_as_much():
    from wave_hf.analysis.gradients import summarize

    even = summarize(text=torch.ones(2, 3, 4), classifier=torch.ones(1, 3, 4))
    assert even["text_spread"] == even["classifier_spread"] == 0
    one_of_four = torch.zeros(2, 3, 4)
    one_of_four[..., 0] = 1
    assert summarize(one_of_four, one_of_four)["cls_spread"] == pytest.approx(3**0.5)


def test_model_without_a_classifier_or_with_a_frozen_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="model is a WaveModel, but should have a linear head called `classifier`"):
        train(tmp_path, WaveModel(tiny_config()), GradientRecorder())
    model = MODELS["wave"]()
    model.get_input_embeddings().requires_grad_(False)
    with pytest.raises(ValueError, match="is frozen"):
        train(tmp_path, model, GradientRecorder())
