"""The cache of a teacher's vectors: what is computed, kept, continued and refused."""

import numpy as np
import pytest
import torch
from builders import TEXTS
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import AutoTokenizer, BertConfig, BertModel, set_seed

from wave_hf import train_tokenizer

pytest.importorskip("sentence_transformers")

from wave_hf.training import encoder_targets
from wave_hf.training.encoder_targets import EncoderTeacher, StoredTargets, principal_components

MORE_TEXTS = [f"{text} {number}" for number in range(3) for text in TEXTS]  # 15 of them


def save_teacher(folder, seed):
    tokenizer = train_tokenizer(TEXTS * 2)
    set_seed(seed)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory):
    return save_teacher(tmp_path_factory.mktemp("teacher"), seed=0)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(encoder_targets, "SHARD_SIZE", 4)


def load_teacher(folder, **options):
    return EncoderTeacher(folder, device="cpu", **options)


def test_the_vectors_are_the_mean_of_the_tokens_and_of_length_one(teacher_folder, tmp_path):
    load_teacher(teacher_folder).store_targets(TEXTS, tmp_path)
    model, tokenizer = BertModel.from_pretrained(teacher_folder), AutoTokenizer.from_pretrained(teacher_folder)
    with torch.inference_mode():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(dim=1) for text in TEXTS]
    expected = torch.nn.functional.normalize(torch.cat(states), dim=1)
    assert_close(StoredTargets(TEXTS, [tmp_path])[np.arange(len(TEXTS))], expected, atol=2e-3, rtol=0)


def test_an_interrupted_run_continues(teacher_folder, tmp_path, monkeypatch):
    calls = []
    encode = EncoderTeacher.encode

    def encode_twice(teacher, texts):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(texts)
        return encode(teacher, texts)

    monkeypatch.setattr(EncoderTeacher, "encode", encode_twice)
    with pytest.raises(KeyboardInterrupt):
        load_teacher(teacher_folder).store_targets(MORE_TEXTS, tmp_path)
    calls.clear()
    load_teacher(teacher_folder).store_targets(MORE_TEXTS[:-1], tmp_path)
    assert calls == [MORE_TEXTS[8:12], MORE_TEXTS[12:14]]


def test_more_texts_cost_only_their_own_shards(teacher_folder, tmp_path, monkeypatch):
    load_teacher(teacher_folder).store_targets(MORE_TEXTS[:8], tmp_path)
    calls = []
    monkeypatch.setattr(EncoderTeacher, "encode", lambda _, texts: calls.append(texts) or np.ones((len(texts), 8)))
    load_teacher(teacher_folder).store_targets(MORE_TEXTS[:12], tmp_path)
    assert calls == [MORE_TEXTS[8:12]]


def test_the_vectors_of_several_teachers_are_joined(teacher_folder, tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    names = [teacher_folder, save_teacher(tmp_path / "other", seed=1)]
    for name, folder in zip(names, folders, strict=True):
        load_teacher(name).store_targets(MORE_TEXTS, folder)
    rows = np.array([13, 2])
    parts = [StoredTargets(MORE_TEXTS, [folder])[rows] for folder in folders]
    assert_close(StoredTargets(MORE_TEXTS, folders)[rows], torch.cat(parts, dim=1) / 2**0.5, atol=1e-3, rtol=0)


def test_other_texts_are_refused(teacher_folder, tmp_path):
    teacher = load_teacher(teacher_folder)
    teacher.store_targets(TEXTS, tmp_path)
    others = ["another text", *TEXTS[1:]]
    with pytest.raises(SystemExit, match="holds the vectors of other texts"):
        teacher.store_targets(others, tmp_path)
    with pytest.raises(SystemExit, match="holds the vectors of other texts"):
        StoredTargets(others, [tmp_path])


@pytest.mark.parametrize("change", ["weights", "length"])
def test_another_teacher_is_refused(teacher_folder, tmp_path, change):
    load_teacher(teacher_folder).store_targets(TEXTS, tmp_path / "targets")
    other = save_teacher(tmp_path / "other", seed=1) if change == "weights" else teacher_folder
    options = {"max_length": 32} if change == "length" else {}
    with pytest.raises(SystemExit, match="holds the vectors of another teacher"):
        load_teacher(other, **options).store_targets(TEXTS, tmp_path / "targets")


def test_a_damaged_shard_is_named(teacher_folder, tmp_path):
    load_teacher(teacher_folder).store_targets(TEXTS, tmp_path)
    file = min(tmp_path.glob("*.npy"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SystemExit, match=file.name):
        StoredTargets(TEXTS, [tmp_path])


def test_a_teacher_without_a_tokenizer(teacher_folder, tmp_path):
    BertModel.from_pretrained(teacher_folder).save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match=f"^Teacher {tmp_path} has no tokenizer"):
        load_teacher(str(tmp_path))


@given(st.integers(1, 6), st.integers(0, 2**16))
def test_the_components_keep_most_of_the_variance(width, seed):
    vectors = torch.randn(50, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    components = principal_components(vectors, width)
    assert_close(components.T @ components, torch.eye(width, dtype=torch.float64))
    explained = ((vectors - vectors.mean(dim=0)) @ components).square().sum(dim=0)
    largest = torch.linalg.svdvals(vectors - vectors.mean(dim=0)).square()[:width]
    assert_close(explained, largest)


def test_a_student_wider_than_its_teacher():
    with pytest.raises(SystemExit, match=r"9 wide .* only 8 dimensions"):
        principal_components(torch.randn(20, 8), 9)
