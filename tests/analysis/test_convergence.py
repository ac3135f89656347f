"""Networks are trained on the same batches, and their curves describe the training."""

import pytest
import torch
from builders import TOKENIZER, tiny_config
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from transformers import BertConfig, TrainerCallback

from wave_hf.analysis.convergence import Run, Training, initial_model, train

WORDS = ["surf", "bad", "long"]
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=WORDS)})
SPLIT = Dataset.from_dict(
    {"text": [f"the {WORDS[i % 3]} was just ." for i in range(60)], "label": [i % 3 for i in range(60)]}, FEATURES
)
ROWS = DatasetDict(train=SPLIT, validation=SPLIT.select(range(30)))
BERT = BertConfig(
    vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
)


def training(**fields):
    return Training(TOKENIZER, ROWS, **({"steps": 10, "batch_size": 8, "max_length": 128, "seed": 42} | fields))


class BatchRecorder(TrainerCallback):
    """Remembers the token ids of each training batch."""

    def __init__(self):
        self.batches = []

    def on_train_begin(self, args, state, control, model, **kwargs):
        model.get_input_embeddings().register_forward_hook(self.remember)

    def remember(self, module, args, output):
        if module.training:
            self.batches.append(args[0].clone())


@pytest.mark.slow
def test_all_networks_see_the_same_batches():
    recorders = []
    for config in (tiny_config(hidden_dropout_prob=0.5), tiny_config(wave_operation="interference"), BERT):
        recorders.append(BatchRecorder())
        train(config, training(), 1e-3, callbacks=[recorders[-1]])
    first, *others = (recorder.batches for recorder in recorders)
    assert len(first) == 10  # from the start again after the eighth
    for other in others:
        for batch, same in zip(first, other, strict=True):
            torch.testing.assert_close(batch, same)
    assert not torch.equal(first[0], TOKENIZER(list(SPLIT["text"][:8]), return_tensors="pt")["input_ids"])


def test_curves_of_a_separable_task():
    run = train(tiny_config(initializer_range=0.5), training(steps=60, batch_size=12), learning_rate=0.02)
    steps = list(range(3, 61, 3))
    assert [step for step, _ in run.loss] == [step for step, _ in run.accuracy] == steps
    assert run.loss[-1][1] < run.loss[0][1] / 2
    assert run.accuracy[-1][1] == 1
    # The last accuracy is that of the network as it is returned.
    inputs = TOKENIZER(list(ROWS["validation"]["text"]), padding=True, return_tensors="pt")
    assert not run.model.training
    assert (run.model(**inputs).logits.argmax(dim=-1) == torch.tensor(ROWS["validation"]["label"])).all()


def test_texts_are_cut_off_at_the_length():
    recorder = BatchRecorder()
    train(tiny_config(), training(steps=1, max_length=4), 1e-3, callbacks=[recorder])
    assert recorder.batches[0].shape == (8, 4)


def test_a_seed_gives_the_same_initial_weights():
    weights = [initial_model(BERT, seed).classifier.weight for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(("accuracy", "step"), [(0.1, 5), (0.5, 10), (0.7, 20), (0.9, None)])
def test_steps_to_an_accuracy(accuracy, step):
    run = Run(initial_model(BERT, 0), loss=[], accuracy=[(5, 0.3), (10, 0.6), (15, 0.4), (20, 0.8)])
    assert run.steps_to(accuracy) == step
