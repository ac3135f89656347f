"""Any arguments of `forward`: what they mean for right ones, or one clear error, and a model that is as it was."""

import random

import pytest
import torch
from builders import (
    HEADS,
    POOLINGS,
    SAME,
    head_inputs,
    output_scores,
    random_ids,
    tiny_model,
    training_inputs,
)
from torch.testing import assert_close

from wave_hf import WaveForSequenceClassification

from .cases import CLEAR, result_or_error, seeds

pytestmark = pytest.mark.slow

# torch raises errors of its own, as for any model.
ERRORS = (*CLEAR, RuntimeError, IndexError, AttributeError)
FIELDS = {
    "wave_operation": ["modulation", "interference"],
    "readout": ["cartesian", "real"],
    "pooling": POOLINGS,
    "pair_encoding": ["joint", "separate"],
    "num_hidden_layers": [1, 2],
    "embedding_size": [None, 4],
    "intermediate_size": [None, 12],
    "local_kernel_size": [None, 3],
    "variant_kernel_size": [None, 3],
    "scale_waves": [False, True],
    "residual": [False, True],
    "final_norm": ["tokens", "pooled"],
    "max_position_embeddings": [None, 16],
    "type_vocab_size": [0, 2],
}
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

# Changes that keep the meaning: the result is the same, or an error.
EQUAL = {
    "input_ids": [lambda ids, rng: ids.to(rng.choice(INTEGERS)), lambda ids, rng: ids.mT.contiguous().mT],
    "attention_mask": [
        lambda mask, rng: mask.to(rng.choice([torch.bool, *INTEGERS, *FLOATS])),
        lambda mask, rng: mask.mT.contiguous().mT,
    ],
    "token_type_ids": [lambda types, rng: types.to(rng.choice([*INTEGERS, torch.float32]))],
    "labels": [lambda labels, rng: labels.to(rng.choice([torch.int32, torch.int64]))],
}
# Changes that no meaning remains after: an error.
WRONG = {
    "input_ids": [
        lambda ids, rng: ids.masked_fill(ids == ids.flatten()[0], rng.choice([-1, -100, 32, 2**31, 2**40])),
        lambda ids, rng: ids.to(rng.choice(FLOATS)),
        lambda ids, rng: ids.flatten(),
        lambda ids, rng: ids[..., None, :].expand(*ids.shape[:-1], 2, -1),
        lambda ids, rng: ids[..., :0],
        lambda ids, rng: rng.choice([ids.tolist(), ids.numpy(), "waves", 3, {}]),
        lambda ids, rng: torch.zeros(ids.shape, dtype=torch.complex64),
    ],
    "attention_mask": [
        lambda mask, rng: mask[..., :1],
        lambda mask, rng: mask[:, :0],
        lambda mask, rng: mask.flatten(),
        lambda mask, rng: mask[..., None, None, :],
        lambda mask, rng: mask.repeat_interleave(2, dim=-1),
        lambda mask, rng: mask - 2,
        lambda mask, rng: torch.zeros(mask.shape).masked_fill(mask == 0, rng.choice([-1e4, float("-inf")])) - 1e-9,
        lambda mask, rng: torch.where(mask == 1, 1.0, torch.nan) if (mask == 0).any() else mask - 2,
        lambda mask, rng: rng.choice([mask.tolist(), mask.numpy(), "1", 1]),
    ],
    "token_type_ids": [
        lambda types, rng: types[..., :-1],
        lambda types, rng: types.flatten(),
        lambda types, rng: torch.full_like(types, rng.choice([-1, 7])),
        lambda types, rng: rng.choice([types.tolist(), "0", 0]),
    ],
    "labels": [
        lambda labels, rng: torch.full_like(labels, rng.choice([-1, 99, 2**40])),
        lambda labels, rng: labels[..., None].expand(*labels.shape, 7),
        lambda labels, rng: rng.choice([labels.tolist(), "sea"]),
    ],
}


def draw(rng):
    """Return a network and inputs for its head: texts with padding on either side."""
    fields = {name: rng.choice(values) for name, values in FIELDS.items()}
    model = tiny_model(model_class=rng.choice(HEADS), **fields)
    batch, length = rng.randint(2, 3), rng.randint(3, 6)
    mask = torch.ones(batch, length, dtype=torch.long)
    for row in mask:
        padding = rng.randint(0, length - 1)
        row[:padding] = 0 if rng.random() < 0.5 else row[:padding]
        row[length - padding :] *= int(row[0] == 0 or padding == 0)
    types = (random_ids(batch, length, seed=1) % 2).sort(dim=1).values
    texts = {"input_ids": random_ids(batch, length), "attention_mask": mask, "token_type_ids": types}
    compares = model.config.pair_encoding == "separate" and isinstance(model, WaveForSequenceClassification)
    if not (model.config.type_vocab_size or compares):
        del texts["token_type_ids"]
    return model, training_inputs(model, **texts), texts


@seeds(150)
def test_forward(seed):
    rng = random.Random(seed)
    model, inputs, _ = draw(rng)
    before, expected = model.config.to_dict(), model(**inputs)
    changes = rng.choice([EQUAL, WRONG])
    name = rng.choice(sorted(inputs.keys() & changes.keys()))
    number = rng.randrange(len(changes[name]))
    changed = changes[name][number](inputs[name], rng)
    given = (type(model).__name__, name, number, changed, inputs)
    output, message = result_or_error(model, **(inputs | {name: changed}), errors=ERRORS)
    if message is None:
        assert changes is EQUAL, given
        assert_close(output_scores(output), output_scores(expected), **SAME)
        assert_close(output.loss, expected.loss, **SAME)
    assert model.config.to_dict() == before, given
    assert_close(model(**inputs).loss, expected.loss, rtol=0, atol=0)


@seeds(50)
def test_a_text_alone(seed):
    rng = random.Random(seed)
    model, _, texts = draw(rng)
    with torch.no_grad():
        batch = output_scores(model(**head_inputs(model, **texts)))
        for row, mask in enumerate(texts["attention_mask"] == 1):
            if not mask.any():
                continue
            alone = {name: part[row : row + 1, mask] for name, part in texts.items() if name != "attention_mask"}
            scores = output_scores(model(**head_inputs(model, **alone)))[0]
            assert_close(batch[row][mask] if batch[row].dim() == 2 else batch[row], scores, **SAME)
