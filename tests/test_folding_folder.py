"""Folders of folded networks: complete, self-contained, the same everywhere, and refused if damaged or foreign."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
import safetensors.numpy
import torch
from builders import LABELS, TEXTS, save_classifier, write_rows
from numpy.testing import assert_allclose, assert_array_equal
from pages import DOCS, marked_block
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer

from wave_hf import (
    WaveForMaskedLM,
    WaveForSequenceClassification,
    WaveModel,
    folded_wave,
    folding,
    train_tokenizer,
)
from wave_hf.export import export
from wave_hf.folding import FoldedWave, fold

FILES = ["SHA256SUMS", "config.json", "folded_wave.py", "model.safetensors", "tokenizer.json"]
DTYPES = ["float32", "float16", "int8"]
RUNTIME = {"numpy", "safetensors", "tokenizers"}

# Runs in a process of its own, with the folder as first argument and a limit on the tokens before numba as second.
PREDICT = """
import json, sys, sysconfig
for missing in sys.argv[3:]:
    sys.modules[missing] = None
sys.path.insert(0, sys.argv[1])
import folded_wave
folded_wave.TOKENS_BEFORE_NUMBA = int(sys.argv[2])
texts = json.loads(sys.stdin.read())
logits = folded_wave.FoldedWave.load(sys.argv[1]).logits(texts).tolist()
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
site = sysconfig.get_paths()["purelib"]
installed = {file.removeprefix(site).split("/")[1].removesuffix(".py") for file in files if file.startswith(site)}
stats = getattr(folded_wave.KERNELS.functions[0], "stats", None)
hits = stats and sum(stats.cache_hits.values())
print(json.dumps({"logits": logits, "installed": sorted(installed), "hits": hits}))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_classifier(folder, final_norm="pooled")
    return folder


@pytest.fixture(scope="module")
def saved(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "waves-folded"
    fold(checkpoint).save(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """A folder that a test may damage."""
    for name in FILES:
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def expected(checkpoint):
    """What the network itself says of the texts."""
    model = WaveForSequenceClassification.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with torch.no_grad():
        return model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy()


def run(folder, tokens_before_numba=10**12, missing=(), **environment):
    """Predicts in a process that cannot import this package."""
    missing = ["torch", "transformers", "wave_hf", *missing]
    command = [sys.executable, "-c", PREDICT, str(folder), str(tokens_before_numba), *missing]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    texts = json.dumps(TEXTS)
    done = subprocess.run(command, input=texts, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rewrite(folder, name, content):
    """Replaces a file and its checksum, as somebody who writes such folders could."""
    (folder / name).write_bytes(content)
    lines = [f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in FILES[1:]]
    (folder / "SHA256SUMS").write_text("".join(lines))


class TestFolder:
    @pytest.mark.slow
    def test_holds_all_that_is_needed(self, saved):
        assert sorted(file.name for file in saved.iterdir() if file.name != "__pycache__") == FILES

    def test_passes_the_standard_check(self, saved):
        check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
        listed = subprocess.run(check, cwd=saved, capture_output=True, text=True, check=True).stdout
        assert listed.count("OK") == len(FILES) - 1

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_is_loaded_as_it_was_saved(self, checkpoint, dtype, tmp_path):
        folded = fold(checkpoint, dtype=dtype)
        folded.save(tmp_path / "first")
        loaded = FoldedWave.load(tmp_path / "first")
        assert_array_equal(loaded.logits(TEXTS), folded.logits(TEXTS))
        loaded.save(tmp_path / "second")
        for name in FILES:
            assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()

    def test_table_takes_less_space_in_fewer_bits(self, tmp_path):
        sizes = []
        save_classifier(tmp_path / "checkpoint", final_norm="pooled", hidden_size=64)
        for dtype in DTYPES:
            fold(tmp_path / "checkpoint", dtype=dtype).save(tmp_path / dtype)
            tensors = safetensors.numpy.load_file(tmp_path / dtype / "model.safetensors")
            assert tensors["table"].dtype == dtype
            sizes.append(tensors["table"].nbytes)
        assert sizes[0] == 2 * sizes[1] == 4 * sizes[2]

    def test_network_without_a_head(self, tmp_path):
        model = save_classifier(tmp_path / "checkpoint", WaveModel, final_norm="pooled")
        fold(str(tmp_path / "checkpoint")).save(tmp_path / "folded")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
        with torch.no_grad():
            vectors = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).pooler_output
        assert_allclose(FoldedWave.load(tmp_path / "folded").encode(TEXTS), vectors, atol=1e-5)


class TestProcess:
    @pytest.mark.parametrize("missing", [("numba", "tokie"), ("numba",)])
    def test_needs_three_packages(self, saved, expected, missing):
        found = run(saved, missing=missing)
        assert_allclose(found["logits"], expected, atol=1e-5)
        assert {name for name in found["installed"] if not name.startswith(("numpy", "_"))} <= RUNTIME | {"tokie"}

    def test_starts_without_numba(self, saved):
        assert "numba" not in run(saved)["installed"]

    @pytest.mark.slow
    def test_compiles_once(self, copied, expected):
        pytest.importorskip("numba")
        for hits in (0, 1):
            found = run(copied, tokens_before_numba=-1)
            assert_allclose(found["logits"], expected, atol=1e-5)
            assert found["hits"] == hits

    @pytest.mark.slow
    def test_compiles_where_nothing_can_be_written(self, copied, expected):
        pytest.importorskip("numba")
        (copied / "__pycache__").write_text("no folder")
        nowhere = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere", "NUMBA_CACHE_DIR": ""}
        assert_allclose(run(copied, tokens_before_numba=-1, **nowhere)["logits"], expected, atol=1e-5)

    @pytest.mark.slow
    def test_compiles_when_asked_to(self, saved, expected, monkeypatch):
        pytest.importorskip("numba")
        monkeypatch.setattr(folded_wave, "KERNELS", folded_wave.Kernels())
        folded = FoldedWave.load(saved)
        folded.compile()
        assert folded_wave.KERNELS.functions[0].signatures
        assert_allclose(folded.logits(TEXTS), expected, atol=1e-5)

    def test_labels_lines(self, saved):
        lines = "".join(f"{text}\n" for text in TEXTS)
        command = [sys.executable, saved / "folded_wave.py"]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == FoldedWave.load(saved).predict(TEXTS)


class TestDamage:
    """Each is noticed when loading, and named in one line."""

    @pytest.mark.parametrize("name", [name for name in FILES if name != "folded_wave.py"])
    def test_missing_file(self, copied, name):
        (copied / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"^[^\n]*{name}"):
            FoldedWave.load(copied)

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_file_that_is_cut_off(self, copied, name):
        (copied / name).write_bytes((copied / name).read_bytes()[:-10])
        with pytest.raises(ValueError, match=f"^{copied}/{name} does not match SHA256SUMS: it is damaged[^\n]*$"):
            FoldedWave.load(copied)

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "SHA256SUMS"])
    def test_flipped_bit(self, copied, name):
        content = bytearray((copied / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copied / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"^[^\n]* does not match SHA256SUMS: it is damaged[^\n]*$"):
            FoldedWave.load(copied)

    def test_checkpoint_that_is_not_folded(self, checkpoint):
        with pytest.raises(FileNotFoundError, match=f"^{checkpoint} has no SHA256SUMS: give a folder that wave"):
            FoldedWave.load(checkpoint)

    def test_folder_of_another_kind(self, copied):
        rewrite(copied, "config.json", b'{"model_type": "wave_network"}')
        with pytest.raises(ValueError, match="has the model_type 'wave_network' and the format_version None"):
            FoldedWave.load(copied)

    def test_folder_of_a_later_version(self, copied):
        config = json.loads((copied / "config.json").read_bytes()) | {"format_version": 2}
        rewrite(copied, "config.json", json.dumps(config).encode())
        with pytest.raises(ValueError, match="the format_version 2, but should have 'folded_wave' and 1"):
            FoldedWave.load(copied)

    def test_tokenizer_of_another_model(self, copied):
        other = train_tokenizer([f"many other words, {number}" for number in range(100)]).backend_tokenizer.to_str()
        rewrite(copied, "tokenizer.json", other.encode())
        with pytest.raises(ValueError, match=r"The tokenizer has \d+ tokens, but the table only \d+ rows"):
            FoldedWave.load(copied)

    def test_tokenizer_with_ids_beyond_the_table(self, copied):
        other = Tokenizer(WordLevel({"[UNK]": 0, "one": 1_000_000}, "[UNK]"))
        rewrite(copied, "tokenizer.json", other.to_str().encode())
        with pytest.raises(ValueError, match=r"^A text has the token id 1000000 .* belongs to another"):
            FoldedWave.load(copied).predict(["one"])

    @pytest.mark.parametrize("name", ["table", "readout.weight", "norm.bias", "classifier.weight"])
    def test_tensor_of_another_shape(self, copied, name):
        tensors = safetensors.numpy.load_file(copied / "model.safetensors")
        tensors[name] = tensors[name][..., 1:].copy()
        rewrite(copied, "model.safetensors", safetensors.numpy.save(tensors))
        with pytest.raises(ValueError, match=r"^The tensor [a-z.]+ has the shape \(.*\), but should have \(.*\)\.$"):
            FoldedWave.load(copied)

    @pytest.mark.parametrize("name", ["table", "norm.weight"])
    def test_missing_tensor(self, copied, name):
        tensors = safetensors.numpy.load_file(copied / "model.safetensors")
        del tensors[name]
        rewrite(copied, "model.safetensors", safetensors.numpy.save(tensors))
        with pytest.raises(ValueError, match=f"^The tensor {name} has the shape .*, but should have [^\n]*$"):
            FoldedWave.load(copied)


class TestWriting:
    def test_folder_that_is_not_empty(self, checkpoint, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match=f"{tmp_path} is not empty"):
            fold(checkpoint).save(tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]

    def test_failure_leaves_nothing(self, checkpoint, tmp_path, monkeypatch):
        def fail(folder):
            raise OSError("disk full")

        monkeypatch.setattr(folding, "write_checksums", fail)
        with pytest.raises(OSError, match="disk full"):
            fold(checkpoint).save(tmp_path / "folded")
        assert list(tmp_path.iterdir()) == []


class TestExport:
    def test_writes_the_report(self, checkpoint, tmp_path):
        rows = write_rows(tmp_path / "rows.csv", text=TEXTS, label=[LABELS[0]] * len(TEXTS))
        report = export(str(checkpoint), tmp_path / "folded", int8=True, validation_file=rows, format="folded")
        assert json.loads((tmp_path / "folded" / "report.json").read_bytes()) == report
        assert report["rows"] == len(TEXTS)
        assert report["forms"]["folded"].keys() == {"bytes", "max_difference", "label_agreement", "accuracy"}
        assert FoldedWave.load(tmp_path / "folded").config["dtype"] == "int8"

    @pytest.mark.slow
    def test_without_rows_of_the_user_no_agreement_is_reported(self, checkpoint, tmp_path):
        report = export(str(checkpoint), tmp_path / "folded", format="folded")
        assert report["forms"]["folded"].keys() == {"bytes", "max_difference"}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("model_class", "fields", "message"),
        [
            (WaveForSequenceClassification, {}, "final_norm is 'tokens'"),
            (WaveForMaskedLM, {"final_norm": "pooled"}, "should be WaveForSequenceClassification"),
        ],
    )
    def test_refusal_leaves_nothing(self, model_class, fields, message, tmp_path):
        save_classifier(tmp_path / "checkpoint", model_class, **fields)
        with pytest.raises(ValueError, match=message):
            export(str(tmp_path / "checkpoint"), tmp_path / "folded", format="folded")
        assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint"]


class TestPageOfTheExport:
    def test_its_code_predicts(self, checkpoint, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        fold(checkpoint).save("waves-folded")
        names = {}
        exec(marked_block(DOCS / "export.md", "folded"), names)
        assert set(names["model"].predict(TEXTS)) <= set(LABELS)


class TestPageOfTheFormat:
    PAGE = (DOCS / "folded-format.md").read_text(encoding="utf-8")

    def test_describes_all_that_is_written(self, tmp_path):
        parts = {"variant_kernel_size": 3, "residual": True, "type_vocab_size": 2}
        save_classifier(tmp_path / "checkpoint", final_norm="pooled", **parts)
        rows = write_rows(tmp_path / "rows.csv", text=TEXTS)
        export(str(tmp_path / "checkpoint"), tmp_path / "folded", int8=True, validation_file=rows, format="folded")
        tensors = safetensors.numpy.load_file(tmp_path / "folded" / "model.safetensors")
        config = json.loads((tmp_path / "folded" / "config.json").read_bytes())
        files = [file.name for file in (tmp_path / "folded").iterdir()]
        assert len(tensors) == 11
        for name in [*tensors, *config, *files]:
            assert f"`{name}`" in self.PAGE

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("fields", [{}, {"residual": True, "embedding_size": 4}])
    def test_its_code_classifies(self, fields, dtype, tmp_path, monkeypatch):
        save_classifier(tmp_path / "checkpoint", final_norm="pooled", **fields)
        folded = fold(tmp_path / "checkpoint", dtype=dtype)
        folded.save(tmp_path / "waves-folded")
        monkeypatch.chdir(tmp_path)
        (code,) = re.findall(r"<!-- tested -->\n```python\n(.*?)```", self.PAGE, re.DOTALL)
        names = {}
        exec(code, names)
        assert_allclose([names["classify"](text) for text in TEXTS], folded.logits(TEXTS), atol=1e-5)
