"""Exported classifiers: equal logits, complete folders that need nothing else, and clear refusals."""

import json
import re
import subprocess
import sys
import venv
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import ALL_PARTS, TEXTS, random_ids, save_classifier, tiny_config, tiny_model, write_rows
from numpy.testing import assert_allclose
from pages import DOCS, marked_block
from transformers import pipeline

# transformers before 5.23 has no exporters, and the extra `export` may not be installed.
pytest.importorskip("transformers.exporters.exporter_onnx")
onnx = pytest.importorskip("onnx")
onnx_ir = pytest.importorskip("onnx_ir")
onnxruntime = pytest.importorskip("onnxruntime")

from wave_hf.export import export, load_validation_rows, main  # noqa: E402
from wave_hf.onnx_export import quantize, to_onnx  # noqa: E402

FILES = ["SHA256SUMS", "config.json", "model.onnx", "report.json", "tokenizer.json", "tokenizer_config.json"]

NETWORKS = {
    "paper": {},
    "all parts": ALL_PARTS,
    "interference, magnitude, first token": {
        "wave_operation": "interference",
        "readout": "magnitude",
        "pooling": "cls",
        "problem_type": "multi_label_classification",
    },
    "real part, maximum, factorized": {"readout": "real", "pooling": "max", "embedding_size": 4, "num_labels": 1},
    "pairs read separately": ALL_PARTS | {"pair_encoding": "separate", "residual": False},
}


@cache
def network(name):
    """Returns a network and its graph."""
    model = tiny_model(**NETWORKS[name])
    return model, onnx_ir.to_proto(to_onnx(model))


def run(program, tmp_path, **inputs):
    file = tmp_path / "program.onnx"
    onnx.save(program, file)
    return onnxruntime.InferenceSession(file).run(None, inputs)[0]


@pytest.fixture(scope="module", autouse=True)
def quick_timing():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("wave_hf.onnx_export.MIN_RUN_TIME", 0.01)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_classifier(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_rows(
        tmp_path_factory.mktemp("rows") / "rows.csv", text=TEXTS, label=["sea", "land", "sea", "air", "sea"]
    )


@pytest.fixture(scope="module")
def exported(checkpoint, rows, tmp_path_factory):
    """A folder with a quantized model, where the page on export expects it."""
    folder = tmp_path_factory.mktemp("exported") / "waves-onnx"
    report = export(str(checkpoint), folder, int8=True, validation_file=rows)
    return folder, report


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python with the two packages that the page on export names, and none besides what they need."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    packages = [f"{name}=={version(name)}" for name in ("onnxruntime", "tokenizers")]
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", *packages], capture_output=True, text=True
    )
    if installed.returncode != 0:
        pytest.skip(f"pip cannot install {' and '.join(packages)}: {installed.stderr.splitlines()[-1]}")
    return python


class TestRefusals:
    """Nothing is written, and the refusals come before the slow work."""

    def refuse(self, tmp_path, model_dir, error, message, **options):
        out = tmp_path / "out"
        with pytest.raises(error, match=message):
            export(str(model_dir), out, **options)
        assert not out.exists()

    def test_folder_that_is_not_empty(self, checkpoint, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match=f"{tmp_path} is not empty"):
            export(str(checkpoint), tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]

    def test_folder_without_a_model(self, tmp_path):
        self.refuse(tmp_path, tmp_path, OSError, r"config\.json")

    def test_labels_that_the_model_does_not_know(self, checkpoint, tmp_path):
        file = write_rows(tmp_path / "rows.csv", text=TEXTS, label=["sea"] * 4 + ["fire"])
        self.refuse(tmp_path, checkpoint, ValueError, "label 'fire', but the model has only sea", validation_file=file)

    @pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:200])])
    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_command_line_ends_with_one_line(self, name, damage, tmp_path, monkeypatch):
        save_classifier(tmp_path)
        damage(tmp_path / name)
        monkeypatch.setattr(sys, "argv", ["export", str(tmp_path), str(tmp_path / "out")])
        with pytest.raises(SystemExit, match=f"^Export of {tmp_path}: [^\n]+$"):
            main()
        assert not (tmp_path / "out").exists()


def test_a_missing_text_pair_is_empty(tmp_path):
    file = write_rows(tmp_path / "rows.csv", text=["one", "two"], text_pair=["wave", ""])
    assert load_validation_rows(file, tiny_config()) == ([("one", "wave"), ("two", "")], None)


def test_lists_of_labels_are_not_read(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('{"text": "one", "label": ["sea", "air"]}\n')
    config = tiny_config(problem_type="multi_label_classification")
    assert load_validation_rows(str(file), config) == (["one"], None)


@pytest.mark.slow
class TestFolder:
    def test_holds_one_file_each(self, exported):
        folder, _ = exported
        assert sorted(file.name for file in folder.iterdir()) == sorted([*FILES, "model_int8.onnx"])

    def test_standard_tool_finds_a_flipped_bit(self, exported, tmp_path):
        folder, _ = exported
        check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
        listed = subprocess.run(check, cwd=folder, capture_output=True, text=True, check=True).stdout
        assert listed.count("OK") == len(FILES)  # all files but the list, and the quantized one
        content = bytearray((folder / "model.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        for file in folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / "model.onnx").write_bytes(content)
        damaged = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
        assert damaged.returncode != 0
        assert "model.onnx: FAILED" in damaged.stdout

    def test_report_has_size_difference_agreement_accuracy_and_time(self, exported):
        folder, report = exported
        assert json.loads((folder / "report.json").read_text()) == report
        assert report["rows"] == len(TEXTS)
        assert list(report["forms"]) == ["checkpoint", "model.onnx", "model_int8.onnx"]
        exact = report["forms"]["model.onnx"]
        assert exact["bytes"] == (folder / "model.onnx").stat().st_size
        assert exact["max_difference"] < 1e-5
        assert exact["label_agreement"] == 1
        assert exact["accuracy"] == report["forms"]["checkpoint"]["accuracy"]
        assert all(form[f"milliseconds_batch_{n}"] > 0 for form in report["forms"].values() for n in (1, 64))

    def test_files_contain_no_path_of_this_machine(self, exported):
        folder, _ = exported
        for file in folder.iterdir():
            assert b".py" not in file.read_bytes()

    def test_readme_classifies_where_torch_and_transformers_are_not_installed(self, exported, checkpoint, bare_python):
        folder, _ = exported
        code = marked_block(DOCS / "export.md", "onnxruntime")
        code = code.replace("model_int8.onnx", "model.onnx")  # quantization of random weights proves nothing
        command = [bare_python, "-I", "-c", code]
        result = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=True)
        texts = re.search(r"encode_batch\((\[.*?\])\)", code)[1]

        expected = pipeline("text-classification", str(checkpoint))(json.loads(texts))
        printed = eval(result.stdout)
        assert [label for label, _ in printed] == [row["label"] for row in expected]
        assert_allclose([score for _, score in printed], [row["score"] for row in expected], atol=1e-5)

    def test_compression_is_part_of_it(self, checkpoint, rows, tmp_path):
        size = 45
        report = export(
            str(checkpoint), tmp_path / "out", vocab_size=size, embedding_size=7, train_file=rows, validation_file=rows
        )
        assert report["forms"]["model.onnx"]["max_difference"] == pytest.approx(
            report["forms"]["compressed"]["max_difference"], abs=1e-5
        )
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        vocabulary = json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["vocab"]
        assert config["vocab_size"] == len(vocabulary) <= size
        assert config["embedding_size"] == 7


@pytest.mark.slow
class TestProgram:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_any_batch_gives_the_logits_of_the_model(self, name, tmp_path):
        model, program = network(name)
        names = [node.name for node in program.graph.input]
        for shape in [(2, 6), (1, 1), (3, 16), (5, 1)]:
            mask = torch.ones(shape, dtype=torch.long)
            mask[-1, shape[1] // 2 :] = 0  # a row of padding alone, if there is but one token
            types = torch.zeros(shape, dtype=torch.long)
            types[:, shape[1] // 3 :] = 1
            inputs = {"input_ids": random_ids(*shape), "attention_mask": mask, "token_type_ids": types}
            with torch.no_grad():
                expected = model(**inputs).logits.numpy()
            given = {name: inputs[name].numpy() for name in names}
            assert_allclose(run(program, tmp_path, **given), expected, atol=1e-5, rtol=1e-4)

    def test_graph_has_standard_operators_and_no_double(self):
        _, program = network("all parts")
        onnx.checker.check_model(program, full_check=True)
        assert {node.domain for node in program.graph.node} == {""}
        assert onnx.TensorProto.DOUBLE not in {tensor.data_type for tensor in program.graph.initializer}

    def test_factorized_table_is_never_widened(self):
        _, program = network("real part, maximum, factorized")
        weights = {tuple(tensor.dims) for tensor in program.graph.initializer}
        assert (4, 16) in weights
        assert (4, 8) not in weights

    def test_tables_and_matrices_become_int8(self, tmp_path):
        model = tiny_model(hidden_size=64)
        program = onnx_ir.to_proto(quantize(to_onnx(model)))
        whole = {tensor.data_type for tensor in program.graph.initializer if np.prod(tensor.dims) > 128}
        assert whole <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
        ids = random_ids(4, 6)
        expected = model(ids).logits.detach().numpy()
        given = {"input_ids": ids.numpy(), "attention_mask": np.ones((4, 6), np.int64)}
        assert_allclose(run(program, tmp_path, **given), expected, atol=0.1 * expected.std())
