"""Any values of config fields: a network that works and is loaded as it was saved, or one error that names a field."""

import random
from dataclasses import fields

import pytest
import torch
from builders import HEADS, head_inputs, output_scores, random_ids, tiny_config

from wave_hf import WaveConfig

from .cases import NUMBERS, VALUES, result_or_error, sample, seeds

pytestmark = pytest.mark.slow

# Fields that do not describe the network, and maps of labels, which transformers reads before any check.
LEFT_OUT = {"dtype", "return_dict", "chunk_size_feed_forward", "auto_map", "id2label", "label2id"}
NAMES = [field.name for field in fields(WaveConfig) if not field.name.startswith(("_", "output_"))]
NAMES = [name for name in NAMES if name not in LEFT_OUT]
TOO_LARGE = 10**6  # weights that a test can hold


def weights_of(config):
    """Return roughly how many weights a network has."""
    sizes = [config.hidden_size, config.embedding_size, config.intermediate_size, config.local_kernel_size]
    width = max(size or 1 for size in [*sizes, config.variant_kernel_size])
    rows = max(config.vocab_size, config.max_position_embeddings or 0, config.type_vocab_size, config.num_labels)
    return width * (rows + 9 * width * config.num_hidden_layers)


@seeds(80)
def test_config(seed, tmp_path):
    rng = random.Random(seed)
    changes = {name: rng.choice(rng.choice([NUMBERS, VALUES])) for name in sample(rng, NAMES, 3)}
    changes = dict(sorted(changes.items()))
    config, message = result_or_error(tiny_config, **changes)
    if message is not None:
        assert any(name in message for name in [*changes, "label"]), (changes, message)
        return
    config.save_pretrained(tmp_path)
    loaded = WaveConfig.from_pretrained(tmp_path)
    assert loaded.to_json_string() == config.to_json_string()  # as dicts, two NaN would differ
    if weights_of(config) > TOO_LARGE:
        return
    head = rng.choice(HEADS)
    model, message = result_or_error(head, config)
    if message is not None:
        return
    inputs = head_inputs(model, input_ids=random_ids(2, 1) % config.vocab_size)
    with torch.no_grad():
        output, message = result_or_error(model.eval(), **inputs, return_dict=True)
    assert message is None, (changes, message)
    assert output_scores(output).isfinite().all()
