"""The longest text of a model: one rule, saved in the tokenizer, the same for the scripts and a pipeline."""

import json

import pytest
import run_classification
from transformers import AutoTokenizer, pipeline

main = run_classification.main


def saved_limits(folder):
    """Return the truncation, the padding and the longest text that a folder's tokenizer was saved with."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    return tokenizer["truncation"], tokenizer["padding"], AutoTokenizer.from_pretrained(folder).model_max_length


def forget_truncation(folder):
    """Save the tokenizer as other trainers do, whose tokenizer.json says nothing of a truncation."""
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"truncation": None}))


class TestSavedLimit:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("options", "limit"),
        [
            ((), 128),
            (("--pad_to_max_length",), 128),
            (("--max_seq_length", 20), 20),
            (("--config_overrides", "max_position_embeddings=30"), 30),
        ],
    )
    def test_does_not_depend_on_a_cache(self, run, train_file, options, limit):
        arguments = ("--train_file", train_file, "--do_train", "--max_steps", 1, *options)
        first, second = (saved_limits(run(*arguments, output=output)) for output in ("first", "second"))
        assert first == second
        truncation, padding, max_length = first
        assert (truncation["max_length"], padding, max_length) == (limit, None, limit)

    def test_is_that_of_checkpoints_too(self, run, train_file):
        out = run("--train_file", train_file, "--do_train", "--max_steps", 1, "--save_steps", 1)
        assert saved_limits(out / "checkpoint-1") == saved_limits(out)

    @pytest.mark.slow
    def test_a_pipeline_cuts_as_the_script_does(self, run, write, rows, train_file):
        overrides = ("--config_overrides", "max_position_embeddings=12")
        out = run("--train_file", train_file, "--do_train", "--num_train_epochs", 3, *overrides)
        texts = [f"{row['text']} {other['text']}" * 9 for row, other in zip(rows, reversed(rows), strict=True)]
        file = write("long.csv", [{"text": text} for text in texts])
        run("--model_name_or_path", out, "--test_file", file, "--do_predict", "--output_probabilities", new=False)
        lines = [line.split("\t") for line in (out / "predict_results.txt").read_text().splitlines()[1:]]
        classify = pipeline("text-classification", str(out))
        for output, (_, name, *probabilities) in zip(classify(texts, truncation=True), lines, strict=True):
            assert output["label"] == name
            assert output["score"] == pytest.approx(max(map(float, probabilities)), abs=1e-5)

    @pytest.mark.slow
    def test_an_export_cuts_as_a_pipeline_does(self, run, write, rows, train_file, tmp_path):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("transformers.exporters.exporter_onnx")
        from wave_hf.export import export

        out = run("--train_file", train_file, "--do_train", "--num_train_epochs", 3, "--max_seq_length", 6)
        forget_truncation(out)
        texts = [f"{row['text']} {other['text']}" * 9 for row, other in zip(rows, reversed(rows), strict=True)]
        file = write("long.csv", [{"text": text} for text in texts])
        report = export(str(out), tmp_path / "exported", validation_file=file)
        assert report["tokens_batch_1"] == 6
        assert saved_limits(tmp_path / "exported")[0]["max_length"] == 6
        assert len(AutoTokenizer.from_pretrained(out)(texts[0], truncation=True)["input_ids"]) == 6

    def test_is_on_the_card(self, run, train_file):
        out = run("--train_file", train_file, "--do_train", "--max_steps", 1, "--max_seq_length", 9)
        assert "The longest text has 9 tokens; pass `truncation=True`" in (out / "README.md").read_text()

    @pytest.mark.slow
    def test_evaluation_keeps_the_limit_of_the_training(self, run, train_file):
        short = run("--train_file", train_file, "--do_train", "--num_train_epochs", 3, "--max_seq_length", 6)
        arguments = ("--model_name_or_path", short, "--validation_file", train_file, "--do_eval")
        losses = []
        for length in (6, 128):
            out = run(*arguments, "--max_seq_length", length, output=f"eval-{length}", new=False)
            losses.append(json.loads((out / "eval_results.json").read_text())["eval_loss"])
        assert losses[0] == losses[1]

    @pytest.mark.slow
    def test_further_training_may_read_longer_texts(self, run, train_file):
        short = run("--train_file", train_file, "--do_train", "--max_steps", 1, "--max_seq_length", 6)
        arguments = ("--model_name_or_path", short, "--train_file", train_file, "--do_train", "--max_steps", 1)
        assert saved_limits(run(*arguments, output="longer", new=False))[2] == 128
