"""Tests of saved networks: they load unchanged, in every version of the package.

`checkpoints` holds a network for each version that saves in another way, with the logits it gave and the code that was
saved with it. They were written by:

    def write_checkpoint(folder: Path) -> None:
        model = tiny_model(**ALL_PARTS)
        model.save_pretrained(folder)
        mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
        inputs = {"input_ids": random_ids(2, 6), "attention_mask": mask, "token_type_ids": random_ids(2, 6) % 2}
        logits = model(**inputs).logits.tolist()
        inputs = {name: tensor.tolist() for name, tensor in inputs.items()}
        (folder / "logits.json").write_text(json.dumps({"inputs": inputs, "logits": logits}))
"""

import json

import pytest
import torch
from builders import ALL_PARTS, CHECKPOINTS, HEADS, SAME, random_ids, scores, tiny_model
from safetensors import safe_open
from torch.testing import assert_close

from wave_hf import (
    WaveForMaskedLM,
    WaveForMultipleChoice,
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveForTokenClassification,
    WaveModel,
)


class TestSaving:
    @pytest.mark.parametrize("head", HEADS)
    @pytest.mark.parametrize("tie_word_embeddings", [True, False])
    def test_loaded_network_is_the_saved_one(self, head, tie_word_embeddings, tmp_path):
        id2label = {0: "sports", 1: "business", 2: "science"}
        fields = ALL_PARTS | {"id2label": id2label, "tie_word_embeddings": tie_word_embeddings}
        model = tiny_model(**fields, model_class=head)
        model.save_pretrained(tmp_path)
        loaded = head.from_pretrained(tmp_path, device_map="cpu")
        assert torch.equal(scores(loaded, input_ids=random_ids(2, 6)), scores(model, input_ids=random_ids(2, 6)))
        assert loaded.config.id2label == id2label

    @pytest.mark.parametrize("head", HEADS)
    def test_loads_in_half_precision(self, head, tmp_path):
        model = tiny_model(**ALL_PARTS, model_class=head)
        model.save_pretrained(tmp_path)
        loaded = head.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
        expected = scores(model.to(torch.bfloat16), input_ids=random_ids(2, 6))
        assert torch.equal(scores(loaded, input_ids=random_ids(2, 6)), expected)

    @pytest.mark.parametrize("saved", [WaveModel, WaveForMaskedLM])
    @pytest.mark.parametrize("loading", [WaveModel, WaveForMaskedLM, WaveForSequenceClassification])
    @pytest.mark.parametrize(
        ("fields", "lost"),
        [
            ({"num_hidden_layers": 1, "wave_operation": "modulation"}, r"layers\.1\.mixer\.variants\.weight"),
            ({"local_kernel_size": None}, r"layers\.0\.local_kernel\.convolution\.weight"),
            ({"max_position_embeddings": None}, r"embed_positions\.weight"),
        ],
        ids=str,
    )
    def test_weights_that_the_config_has_no_place_for_are_named(self, fields, lost, loading, saved, tmp_path):
        tiny_model(model_class=saved, **ALL_PARTS).save_pretrained(tmp_path)
        file = tmp_path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))
        with pytest.raises(ValueError, match=rf"The config of {tmp_path} has no place for these weights.*{lost}"):
            loading.from_pretrained(tmp_path)
        assert loading.from_pretrained(tmp_path, ignore_mismatched_sizes=True)(random_ids(2, 6))

    @pytest.mark.parametrize("saved", [WaveModel, *HEADS])
    @pytest.mark.parametrize("loading", [WaveModel, *HEADS])
    def test_every_network_loads_the_body_of_every_other(self, loading, saved, tmp_path):
        model = tiny_model(model_class=saved, num_labels=1, **ALL_PARTS)
        model.save_pretrained(tmp_path)
        loaded, info = loading.from_pretrained(tmp_path, output_loading_info=True)
        assert not [name for name in info["missing_keys"] if name.startswith("wave.")]
        assert_close(loaded.base_model.state_dict(), model.base_model.state_dict())

    def test_new_head_on_an_old_body(self, tmp_path):
        model = tiny_model()
        model.save_pretrained(tmp_path)
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path, num_labels=7, ignore_mismatched_sizes=True)
        assert loaded(random_ids(2, 6)).logits.shape == (2, 7)
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())

    @pytest.mark.parametrize(
        ("head", "names"),
        [
            (WaveForSequenceClassification, ["classifier.bias", "classifier.weight"]),
            (WaveForMultipleChoice, ["classifier.weight"]),
            (WaveForTokenClassification, ["classifier.bias", "classifier.weight"]),
            (
                WaveForMaskedLM,
                ["decoder.bias", "head.dense.bias", "head.dense.weight", "head.norm.bias", "head.norm.weight"],
            ),
            (WaveForQuestionAnswering, ["qa_outputs.weight"]),
        ],
    )
    def test_weights_of_heads_keep_their_names(self, head, names, tmp_path):
        tiny_model(model_class=head).save_pretrained(tmp_path)
        with safe_open(tmp_path / "model.safetensors", "pt") as file:
            assert sorted(name for name in file.keys() if not name.startswith("wave.")) == names  # noqa: SIM118

    @pytest.mark.parametrize("head", HEADS)
    def test_body_and_head_load_each_other(self, head, tmp_path):
        model = tiny_model(model_class=head)
        model.save_pretrained(tmp_path / "head")
        body = WaveModel.from_pretrained(tmp_path / "head")
        body.save_pretrained(tmp_path / "body")
        loaded = head.from_pretrained(tmp_path / "body")
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())

    @pytest.mark.parametrize("tie_word_embeddings", [True, False])
    @pytest.mark.parametrize("head", HEADS)
    def test_head_starts_from_a_body_pre_trained_on_masked_tokens(self, head, tie_word_embeddings, tmp_path):
        model = tiny_model(**ALL_PARTS, model_class=WaveForMaskedLM, tie_word_embeddings=tie_word_embeddings)
        model.save_pretrained(tmp_path)
        loaded, loading = head.from_pretrained(tmp_path, output_loading_info=True)
        assert_close(loaded.wave.state_dict(), model.wave.state_dict())
        assert [name for name in loading["missing_keys"] if name.startswith("wave.")] == []

    def test_pickled_weights_are_refused(self, tmp_path):
        model = tiny_model()
        model.save_pretrained(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        with pytest.raises(OSError, match="safetensors"):
            WaveForSequenceClassification.from_pretrained(tmp_path)

    @pytest.mark.parametrize("max_shard_size", ["5GB", "1KB"])
    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"",
            lambda content: content[:-1],
            lambda content: b"\xff" * 8 + content[8:],
            lambda content: content.replace(b'"F32"', b'"F33"'),
        ],
        ids=["empty", "truncated", "length of the header", "header"],
    )
    def test_folder_of_damaged_weights_is_named(self, damage, max_shard_size, tmp_path):
        tiny_model().save_pretrained(tmp_path, max_shard_size=max_shard_size)
        file = sorted(tmp_path.glob("*.safetensors"))[-1]
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(OSError, match=f"^The weights of {tmp_path} are truncated or damaged"):
            WaveForSequenceClassification.from_pretrained(tmp_path)

    @pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.name)
    def test_checkpoint_of_an_older_version_gives_the_same_logits(self, folder):
        expected = json.loads((folder / "logits.json").read_text())
        model = WaveForSequenceClassification.from_pretrained(folder)
        logits = model(**{name: torch.tensor(rows) for name, rows in expected["inputs"].items()}).logits
        assert_close(logits, torch.tensor(expected["logits"]), **SAME)
