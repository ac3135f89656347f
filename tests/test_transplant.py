"""Token tables from encoders: the vectors of tokens, their width and weights, and folders that can be trained."""

import sys
from pathlib import Path

import pytest
import torch
from builders import TEXTS, tiny_model, write_rows
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Tokenizer,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
    set_seed,
)

from wave_hf import WaveConfig, WaveModel, train_tokenizer
from wave_hf.transplant import SIF_COEFFICIENT, encode_tokens, main, reduce_width, sif_weights, transplant

WIDTH = 8


def encoder_config(config_class, **fields):
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return config_class(**(sizes | fields))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of a random BERT and its tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = train_tokenizer(TEXTS * 2)
    set_seed(0)
    # More rows than tokens, as some encoders have.
    BertModel(encoder_config(BertConfig, vocab_size=len(tokenizer) + 3)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "recipe"
    WaveConfig(vocab_size=7, hidden_size=6, embedding_size=4, initializer_range=0.5).save_pretrained(folder)
    (folder / "training_args.json").write_text('{"learning_rate": 0.5}')
    return str(folder)


def table_of(folder):
    return WaveModel.from_pretrained(folder).embed_tokens.weight.detach()


class TestTransplant:
    def test_the_folder_is_a_classifier_that_trains(self, encoder, tmp_path):
        transplant(encoder, tmp_path / "out", frequency_weights=False)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
        assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(encoder).get_vocab()
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", num_labels=3)
        assert model.config.vocab_size == len(tokenizer)
        assert model.config.hidden_size == WIDTH
        model(**tokenizer(TEXTS, padding=True, return_tensors="pt"), labels=torch.zeros(5).long()).loss.backward()
        assert model.wave.embed_tokens.weight.grad.any()

    def test_the_config_decides_the_width_and_the_size_of_the_vectors(self, encoder, recipe, tmp_path):
        transplant(encoder, tmp_path / "out", recipe, frequency_weights=False)
        tokens = len(AutoTokenizer.from_pretrained(encoder))
        table = table_of(tmp_path / "out")
        assert table.shape == (tokens, 4)
        assert not table[0].any()  # padding
        assert_close(table[1:].square().mean().sqrt(), torch.tensor(0.5), atol=0.05, rtol=0)
        assert WaveConfig.from_pretrained(tmp_path / "out").hidden_size == 6

    def test_training_defaults_of_a_recipe_come_along(self, encoder, recipe, tmp_path):
        transplant(encoder, tmp_path / "out", recipe, frequency_weights=False)
        assert (tmp_path / "out" / "training_args.json").read_text() == '{"learning_rate": 0.5}'

    @pytest.mark.parametrize("vectors", ["output", "table"])
    def test_tokens_keep_their_distances(self, encoder, tmp_path, vectors):
        transplant(encoder, tmp_path / "out", vectors=vectors, frequency_weights=False)
        model, tokenizer = BertModel.from_pretrained(encoder), AutoTokenizer.from_pretrained(encoder)
        table = table_of(tmp_path / "out")[1:]
        expected = model.get_input_embeddings().weight if vectors == "table" else encode_tokens(model, tokenizer)
        expected = torch.pdist(expected[1 : len(tokenizer)])
        distances = torch.pdist(table)
        assert_close(distances / distances.mean(), expected / expected.mean(), atol=1e-3, rtol=1e-3)

    def test_frequent_tokens_are_short(self, encoder, tmp_path):
        texts = write_rows(tmp_path / "texts.csv", text=["wave wave wave ocean"])
        lengths = []
        for weighted in (False, True):
            out = tmp_path / str(weighted)
            transplant(encoder, out, frequency_weights=weighted, train_file=texts)
            tokenizer = AutoTokenizer.from_pretrained(out)
            wave, ocean, two = table_of(out)[tokenizer.convert_tokens_to_ids(["wave", "ocean", "two"])].norm(dim=1)
            lengths.append(torch.stack((wave / two, ocean / two)))
        a = SIF_COEFFICIENT
        assert_close(lengths[1] / lengths[0], torch.tensor([a / (a + 0.75), a / (a + 0.25)]), atol=1e-5, rtol=1e-3)

    def test_only_so_many_tokens_are_kept(self, encoder, tmp_path):
        texts = write_rows(tmp_path / "texts.csv", text=["wave wave ocean"])
        transplant(encoder, tmp_path / "whole", train_file=texts)
        whole = AutoTokenizer.from_pretrained(encoder)
        characters = sum(len(token.removeprefix("##")) == 1 or token[0] == "[" for token in whole.get_vocab())
        transplant(encoder, tmp_path / "out", train_file=texts, vocab_size=characters + 1)
        tokenizer, table = AutoTokenizer.from_pretrained(tmp_path / "out"), table_of(tmp_path / "out")
        assert len(tokenizer) == len(table) == characters + 1
        row = tokenizer.convert_tokens_to_ids("wave")
        assert torch.equal(table[row], table_of(tmp_path / "whole")[whole.convert_tokens_to_ids("wave")])

    def test_the_seed_decides_all_but_the_table(self, encoder, tmp_path):
        for name, seed in {"a": 1, "b": 1, "c": 2}.items():
            transplant(encoder, tmp_path / name, frequency_weights=False, seed=seed)
        a, b, c = (WaveModel.from_pretrained(tmp_path / name) for name in "abc")
        weights = [model.layers[0].mixer.variants.weight for model in (a, b, c)]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])
        assert torch.equal(a.embed_tokens.weight, c.embed_tokens.weight)


def test_tokens_are_encoded_as_texts_of_their_own(encoder):
    model, tokenizer = BertModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    with torch.no_grad():
        expected = model(**tokenizer("ocean", return_tensors="pt")).last_hidden_state.mean(dim=1)[0]
    row = encode_tokens(model, tokenizer)[tokenizer.convert_tokens_to_ids("ocean")]
    assert_close(row, expected)


@given(st.integers(1, 6), st.integers(0, 2**16))
def test_reduced_vectors_are_the_principal_components(width, seed):
    vectors = torch.randn(9, 6, generator=torch.Generator().manual_seed(seed)) + 5
    reduced = reduce_width(vectors, width)
    assert_close(reduced.mean(dim=0), torch.zeros(width), atol=1e-5, rtol=0)
    scatter = reduced.T @ reduced
    # No other projection to that width keeps more, and the dimensions are uncorrelated.
    largest = torch.linalg.svdvals(vectors - vectors.mean(dim=0))[:width].square()
    assert_close(scatter, largest.diag(), atol=1e-4, rtol=1e-4)


def test_weights_are_one_for_unseen_tokens_and_half_at_the_coefficient():
    assert_close(sif_weights(torch.tensor([0, SIF_COEFFICIENT])), torch.tensor([1, 0.5]))


class RunsCode:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


class TestRefusals:
    """One line each, and no folder."""

    @pytest.fixture
    def refused(self, monkeypatch, tmp_path):
        def run(encoder, *options):
            texts = write_rows(tmp_path / "texts.csv", text=TEXTS)
            command = ["transplant", str(encoder), str(tmp_path / "out"), "--train_file", texts, *map(str, options)]
            monkeypatch.setattr(sys, "argv", command)
            with pytest.raises(SystemExit, match=f"^Transplant from {encoder}: [^\n]+$") as error:
                main()
            assert not (tmp_path / "out").exists()
            return error.value.code

        return run

    def test_a_table_wider_than_the_encoder(self, refused, encoder, tmp_path):
        WaveConfig(hidden_size=9).save_pretrained(tmp_path / "wide")
        message = (
            "9 wide (embedding_size, or else hidden_size), but should be at most as wide as the encoder's vectors, 8"
        )
        assert message in refused(encoder, "--config_name", tmp_path / "wide")

    def test_a_recipe_wider_than_the_encoder(self, refused, encoder):
        assert "the token table is 320 wide" in refused(encoder, "--config_name", "wave-distilled")

    def test_the_config_of_another_network(self, refused, encoder):
        assert "is 'bert', but should be 'wave_network'" in refused(encoder, "--config_name", encoder)

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_an_impossible_seed(self, refused, encoder, seed):
        assert f"--seed is {seed}, but should be at least 0 and less than 2**32" in refused(encoder, "--seed", seed)

    def test_an_encoder_whose_pickle_runs_code(self, refused, encoder, tmp_path):
        (tmp_path / "pickled").mkdir()
        for file in Path(encoder).iterdir():
            (tmp_path / "pickled" / file.name).write_bytes(file.read_bytes())
        (tmp_path / "pickled" / "model.safetensors").unlink()
        torch.save({"weight": RunsCode(tmp_path / "ran")}, tmp_path / "pickled" / "pytorch_model.bin")
        assert "the weights are a pickle of more than tensors" in refused(tmp_path / "pickled")
        assert not (tmp_path / "ran").exists()

    def test_no_encoder(self, refused, tmp_path):
        assert str(tmp_path / "nowhere") in refused(tmp_path / "nowhere")

    def test_more_tokens_than_vectors(self, refused, tmp_path):
        train_tokenizer(TEXTS * 2).save_pretrained(tmp_path / "encoder")
        BertModel(encoder_config(BertConfig, vocab_size=9)).save_pretrained(tmp_path / "encoder")
        assert "the encoder: the tokenizer has ids up to 43, but the token table has only 9 rows" in refused(
            tmp_path / "encoder"
        )

    def test_no_padding_token(self, refused, tmp_path):
        GPT2Tokenizer(vocab={"a": 0, "<|endoftext|>": 1}, merges=[]).save_pretrained(tmp_path / "encoder")
        BertModel(encoder_config(BertConfig, vocab_size=9)).save_pretrained(tmp_path / "encoder")
        assert "the tokenizer of the encoder has no padding token" in refused(tmp_path / "encoder")

    def test_fewer_tokens_of_a_tokenizer_that_could_not_spell(self, refused, tmp_path):
        vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a"])}
        RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path / "encoder")
        RobertaModel(encoder_config(RobertaConfig, vocab_size=6)).save_pretrained(tmp_path / "encoder")
        assert "should be a BertTokenizer" in refused(tmp_path / "encoder", "--vocab_size", 5)

    def test_a_folder_that_is_not_empty(self, encoder, tmp_path):
        tiny_model().save_pretrained(tmp_path)
        with pytest.raises(FileExistsError, match="is not empty"):
            transplant(encoder, tmp_path)
