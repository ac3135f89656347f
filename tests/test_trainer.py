"""Tests of training with transformers' Trainer."""

import numpy as np
import pytest
import torch
from builders import SPECIAL_TOKENS, TOKENIZER, tiny_config
from torch.testing import assert_close
from transformers import DataCollatorForLanguageModeling, EarlyStoppingCallback, Trainer, TrainingArguments, set_seed

from wave_hf import (
    WaveForMaskedLM,
    WaveForMultipleChoice,
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveForTokenClassification,
)

# Labels of 16 texts for each kind of problem.
PROBLEMS = {
    "single_label_classification": torch.arange(16) % 3,
    "multi_label_classification": torch.eye(16)[:, :3],
    "regression": torch.linspace(-1, 1, 48).view(16, 3),
}


# 16 texts of 6 tokens.
IDS = torch.randint(32, (16, 6), generator=torch.Generator().manual_seed(0))


def texts_that_hold_their_label(number: int) -> list[dict[str, torch.Tensor]]:
    """Return texts of eight random tokens, one of which, 1, 2 or 3, gives the label away."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for label in torch.randint(3, (number,), generator=generator):
        input_ids = torch.randint(4, 32, (8,), generator=generator)
        input_ids[torch.randint(8, (1,), generator=generator)] = label + 1
        rows.append({"input_ids": input_ids, "labels": label})
    return rows


def train(
    output_dir, rows, *, head=WaveForSequenceClassification, config=None, collator=None, callbacks=None, **arguments
) -> Trainer:
    set_seed(0)
    trainer = Trainer(
        head(config or tiny_config()),
        TrainingArguments(output_dir, report_to="none", use_cpu=True, disable_tqdm=True, **arguments),
        data_collator=collator,
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda pair: {"accuracy": np.mean(pair.predictions.argmax(-1) == pair.label_ids)},
        callbacks=callbacks,
    )
    trainer.train()
    return trainer


def test_learns_a_separable_task(tmp_path):
    rows = texts_that_hold_their_label(256)
    arguments = {"num_train_epochs": 8, "learning_rate": 0.02, "per_device_train_batch_size": 32}
    trainer = train(tmp_path, rows, save_strategy="no", **arguments)
    assert trainer.evaluate()["eval_accuracy"] > 0.95


@pytest.mark.slow
def test_learns_to_fill_masks(tmp_path):
    specials, size = len(SPECIAL_TOKENS), len(TOKENIZER)
    # Ten texts that count on, each from another token: a neighbour gives the masked token away.
    texts = specials + (torch.arange(10)[:, None] + torch.arange(8)) % (size - specials)
    rows = [{"input_ids": text} for text in texts] * 16
    config = tiny_config(vocab_size=size, hidden_size=32, local_kernel_size=3, residual=True, sparse_prediction=True)
    collator = DataCollatorForLanguageModeling(TOKENIZER, mlm_probability=0.2)
    arguments = {"num_train_epochs": 30, "learning_rate": 0.01, "per_device_train_batch_size": 32}
    trainer = train(
        tmp_path, rows, head=WaveForMaskedLM, config=config, collator=collator, save_strategy="no", **arguments
    )
    masked = texts.clone()
    masked[:, 4] = TOKENIZER.mask_token_id
    assert torch.equal(trainer.model.eval()(masked).logits[:, 4].argmax(dim=-1), texts[:, 4])


@pytest.mark.slow
@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_accumulated_batches_equal_one_large_batch(problem_type, tmp_path):
    rows = [{"input_ids": ids, "labels": label} for ids, label in zip(IDS, PROBLEMS[problem_type], strict=True)]
    assert_accumulates(tmp_path, rows, problem_type=problem_type)


@pytest.mark.slow
@pytest.mark.parametrize("sparse_prediction", [False, True])
@pytest.mark.parametrize("head", [WaveForTokenClassification, WaveForMaskedLM])
def test_labels_weigh_alike_whatever_batch_they_are_in(head, sparse_prediction, tmp_path):
    labels = IDS % 3
    labels[:4, 1:] = labels[4:8] = -100  # of the four batches, one has a label a text, and one has none
    rows = [{"input_ids": ids, "labels": label} for ids, label in zip(IDS, labels, strict=True)]
    assert_accumulates(tmp_path, rows, head=head, sparse_prediction=sparse_prediction)


@pytest.mark.slow
def test_accumulated_choices_equal_one_large_batch(tmp_path):
    rows = [{"input_ids": ids.view(2, 3), "labels": label % 2} for label, ids in enumerate(IDS)]
    assert_accumulates(tmp_path, rows, head=WaveForMultipleChoice)


@pytest.mark.slow
def test_accumulated_answers_equal_one_large_batch(tmp_path):
    rows = [{"input_ids": ids, "start_positions": row % 4, "end_positions": 5} for row, ids in enumerate(IDS)]
    assert_accumulates(tmp_path, rows, head=WaveForQuestionAnswering)


def assert_accumulates(output_dir, rows, *, head=WaveForSequenceClassification, **fields):
    """Assert that one batch of 16 and four of 4 make the same loss, gradient and weights."""
    config = tiny_config(initializer_range=0.5, **fields)
    logs, weights = [], []
    for batch_size in (16, 4):
        arguments = {"per_device_train_batch_size": batch_size, "gradient_accumulation_steps": 16 // batch_size}
        # With plain SGD, unlike AdamW, the step is as long as the gradient.
        arguments |= {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "logging_steps": 1}
        trainer = train(output_dir, rows, head=head, config=config, save_strategy="no", **arguments)
        logs.append({name: trainer.state.log_history[0][name] for name in ("loss", "grad_norm")})
        weights.append(trainer.model.state_dict())
    assert logs[1] == pytest.approx(logs[0], rel=1e-4)
    assert_close(weights[1], weights[0], atol=1e-5, rtol=1e-4)


def test_stops_early_and_goes_back_to_the_best_checkpoint(tmp_path):
    # With the greatest loss for the best, the first epoch is, and stays, the best one.
    trainer = train(
        tmp_path,
        texts_that_hold_their_label(64),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=2)],
        num_train_epochs=10,
        learning_rate=0.01,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,
    )
    losses = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log]
    assert len(losses) == 3
    assert trainer.evaluate()["eval_loss"] == pytest.approx(losses[0])
    assert losses[0] > losses[2]
