"""Any damage to the folder of a model: it is loaded and works, or one line says what is wrong with it."""

import json
import random
import shutil

import pytest
import torch
from builders import ALL_PARTS, TEXTS, save_classifier
from outputs import weights
from safetensors.torch import save_file

from wave_hf.export import export
from wave_hf.files import load_classifier
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.errors import exit_on_error
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.tokenizing import length_options

from .cases import VALUES, result_or_line, seeds

pytestmark = pytest.mark.slow

# Without sizes that would fill the memory.
SMALL_VALUES = [value for value in VALUES if value not in (2**31, 2**64)]
FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return two folders of models: of the paper's layer, and with all parts."""
    made = [tmp_path_factory.mktemp("paper"), tmp_path_factory.mktemp("all-parts")]
    for folder, fields in zip(made, ({}, ALL_PARTS), strict=True):
        save_classifier(folder, **fields)
    return made


def damage_bytes(file, rng):
    """Cut a file off, change some of its bytes, or put others in their place."""
    content = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(content) + 1)
        end = rng.choice([place, place + 1, place + 9, len(content)])
        content[place:end] = rng.choice([b"", b"\x00", b"\xff", b'"', b"{}", b"null", b"9" * 30])
    file.write_bytes(content)


def damage_json(file, rng):
    """Set a value of a json file to any other, or remove it."""
    content = json.loads(file.read_text())
    place = content
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not (isinstance(place[key], dict | list) and place[key] and rng.random() < 0.7):
            break
        place = place[key]
    if rng.random() < 0.3:
        del place[key]
    else:
        place[key] = rng.choice(SMALL_VALUES)
    file.write_text(json.dumps(content))


def damage_weights(file, rng):
    """Remove a tensor, or give it another shape, dtype or name, or values that are not finite."""
    tensors = weights(file.parent)
    name = rng.choice(sorted(tensors))
    tensor = tensors.pop(name)
    changes = [
        lambda: {},
        lambda: {name: tensor[:-1].clone()},
        lambda: {name: tensor[None]},
        lambda: {name: tensor.to(rng.choice([torch.float16, torch.float64, torch.int64]))},
        lambda: {f"{name}_of_another": tensor},
        lambda: {name: torch.full_like(tensor, rng.choice([float("nan"), float("inf")]))},
    ]
    save_file(tensors | rng.choice(changes)(), file, metadata={"format": "pt"})


def damaged_copy(folders, tmp_path, rng):
    folder = tmp_path / "model"
    shutil.copytree(rng.choice(folders), folder)
    file = folder / rng.choice(FILES)
    structured = damage_weights if file.suffix == ".safetensors" else damage_json
    rng.choice([damage_bytes, structured, structured])(file, rng)
    if rng.random() < 0.05:
        file.unlink()
    return str(folder)


def use(folder):
    """Load a model as the export, the analysis and the demo do, and classify some texts."""
    with exit_on_error(f"Model {folder}"):
        model, tokenizer = load_classifier(folder)
        inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
        with torch.no_grad():
            return model(**inputs).logits, model.config


def prepare(folder):
    """Load a model as the training scripts do."""
    model_args = ModelArguments(model_name_or_path=folder)
    config = load_config(model_args)
    model, tokenizer = load_model_and_tokenizer(model_args, config, (), 42, None)
    length_options(tokenizer, config, DataArguments())
    return model, tokenizer


@seeds(60)
def test_loading(seed, folders, tmp_path):
    rng = random.Random(seed)
    folder = damaged_copy(folders, tmp_path, rng)
    result, line = result_or_line(use, folder)
    if line is None:
        logits, config = result
        assert logits.shape == (len(TEXTS), config.num_labels)
    result, line = result_or_line(prepare, folder)
    if line is None:
        model, tokenizer = result
        assert max(tokenizer.get_vocab().values()) < model.config.vocab_size


@seeds(20)
def test_export(seed, folders, tmp_path):
    rng = random.Random(seed)
    folder, out = damaged_copy(folders[:1], tmp_path, rng), tmp_path / "out"
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "\n".join(f'"{text}"' for text in TEXTS))

    def run():
        with exit_on_error(f"Export of {folder}"):
            return export(folder, out, format="folded", validation_file=str(file))

    report, line = result_or_line(run)
    if line is not None:
        assert not out.exists()
        return
    folded = report["forms"]["folded"]
    assert folded["max_difference"] < 1e-3
    assert folded.get("label_agreement", 1) == 1
