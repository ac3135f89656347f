"""Tests of the comparison of classifiers."""

import json

import compare_accuracy
import pytest
import torch
from outputs import refusal
from transformers import AutoModel, BertConfig, BertModel

from wave_hf import train_tokenizer


@pytest.fixture
def encoder(rows, tmp_path):
    """Return the folder of an encoder of two layers."""
    tokenizer = train_tokenizer([row["text"] for row in rows], vocab_size=200)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def write_result(tmp_path):
    """Return a function that writes the result of a classifier, as the training scripts do."""

    def write(name, **result):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "all_results.json").write_text(json.dumps(result))

    return write


@pytest.mark.slow
def test_trains_what_has_no_result_yet(train_file, encoder, write_result, command_line, tmp_path, capfd):
    write_result("wave-small", train_runtime=1)  # its evaluation is missing
    chosen = ("--classifiers", "tfidf-words", "wave-small")
    options = {
        "train_file": train_file,
        "validation_file": train_file,
        "max_train_samples": 60,
        "output_dir": tmp_path / "out",
    }
    command_line(*chosen, encoder=encoder, bf16=True, **options)
    compare_accuracy.main()
    results = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("out/*/all_results.json")}
    assert results.keys() == {"tfidf-words", "wave-small", "transformer-layer-pretrained-embeddings"}
    assert all(0 <= result["eval_accuracy"] <= 1 for result in results.values())
    assert results["wave-small"]["train_samples"] == 60
    printed = capfd.readouterr().out
    assert all(f"| {name} |" in printed for name in results)


def test_shows_all_results_of_the_folder_without_training_again(write_result, command_line, tmp_path, capsys):
    write_result("tfidf-words", eval_accuracy=0.9, train_runtime=2, parameters=1_500_000)
    write_result("by-hand", eval_accuracy=0.5, train_runtime=1.25, parameters=10_000)
    command_line(classifiers="tfidf-words", output_dir=tmp_path / "out")
    compare_accuracy.main()
    table = capsys.readouterr().out
    rows = ["| by-hand | 50.00% | 0.01 M | 1.2 s |", "| tfidf-words | 90.00% | 1.50 M | 2.0 s |"]
    assert table.splitlines()[2:] == rows  # the quickest first
    assert (tmp_path / "out" / "report.md").read_text() == table
    assert (tmp_path / "out" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_names_of_folders_are_shown_as_they_are(write_result, command_line, tmp_path, capsys):
    write_result("$x|y$ <img>", eval_accuracy=0.5, train_runtime=1.25, parameters=10_000)
    command_line(classifiers="tfidf-words", output_dir=tmp_path / "out", metric="accuracy")
    write_result("tfidf-words", eval_accuracy=0.9, train_runtime=2, parameters=1_500_000)
    compare_accuracy.main()
    assert "| &#36;x&#124;y&#36; &#60;img&#62; | 50.00% |" in capsys.readouterr().out


def test_damaged_results_end_with_one_line(write_result, command_line, tmp_path):
    write_result("by-hand")
    (tmp_path / "out" / "by-hand" / "all_results.json").write_text('{"eval_accuracy": 0.')
    command_line(classifiers="tfidf-words", output_dir=tmp_path / "out")
    assert refusal(compare_accuracy.main).startswith(f"Results in {tmp_path / 'out'}: ")


def test_a_layer_starts_from_the_embeddings_of_the_encoder_and_from_nothing_else(encoder, tmp_path):
    compare_accuracy.save_layer_on_embeddings(str(encoder), tmp_path / "start")
    whole, start = AutoModel.from_pretrained(encoder), AutoModel.from_pretrained(tmp_path / "start")
    assert start.config.num_hidden_layers == 1
    for name, weight in whole.embeddings.named_parameters():
        torch.testing.assert_close(start.embeddings.get_parameter(name), weight)
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(start.get_parameter(name), whole.get_parameter(name))


def test_wrong_classifiers_end_with_one_sentence(command_line, tmp_path):
    command_line(classifiers="oracle", output_dir=tmp_path)
    with pytest.raises(SystemExit, match=r"--classifiers takes .*wave-small.* not oracle"):
        compare_accuracy.main()


@pytest.mark.slow
def test_a_script_that_fails_is_named(command_line, tmp_path):
    command_line(classifiers="tfidf-words", output_dir=tmp_path, train_file=tmp_path / "missing.csv")
    with pytest.raises(SystemExit, match=r"tfidf-words was not trained: run_tfidf.py ended with the error above"):
        compare_accuracy.main()


def test_a_script_that_is_not_beside_this_one_is_named(command_line, monkeypatch, tmp_path):
    monkeypatch.setattr(compare_accuracy, "EXAMPLES", tmp_path)
    command_line(classifiers="tfidf-words", output_dir=tmp_path / "out")
    with pytest.raises(SystemExit, match=f"Training tfidf-words needs run_tfidf.py in the folder {tmp_path}: copy it"):
        compare_accuracy.main()
    assert not (tmp_path / "out").exists()
