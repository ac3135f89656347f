"""Tests of the fastText baseline."""

import json

import pytest
import run_fasttext


@pytest.mark.slow
def test_learns_rows_that_a_word_gives_away(train_file, command_line, tmp_path, capsys):
    output = tmp_path / "output"
    command_line(train_file=train_file, validation_file=train_file, num_train_epochs=50, output_dir=output)
    run_fasttext.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["eval_accuracy"] == 1
    assert result["parameters"] > 10_000_000 * 10  # ten for each bucket of bigrams
    assert json.loads((output / "all_results.json").read_text()) == result


@pytest.mark.slow
def test_a_text_is_no_label_whatever_it_says(rows, write, command_line, capsys):
    for row in rows:
        row["text"] = f"__label__1 #:0\n{row['text']}"
    file = write("rows.json", rows)
    command_line(train_file=file, validation_file=file, num_train_epochs=50)
    run_fasttext.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["eval_accuracy"] == 1


def test_refuses_numbers(write, command_line):
    file = write("rows.csv", [{"text": "soup", "label": 0.5}, {"text": "rain", "label": 1.5}])
    command_line(train_file=file, validation_file=file)
    with pytest.raises(SystemExit, match="one label per row, but the task is regression"):
        run_fasttext.main()
