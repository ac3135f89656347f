"""Tests of `examples/run_encoder_distillation.py`, from outside: what it reads, learns, writes and refuses."""

import gzip
import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, set_seed

from wave_hf import WaveConfig, train_tokenizer

sentence_transformers = pytest.importorskip("sentence_transformers")

from run_encoder_distillation import main  # noqa: E402, F401 (the fixture `run` calls it)

WIDTH = 8
SENTENCES = ["The rain was cold yesterday.", "The soup was tasty again.", "The bread is still warm."]


@pytest.fixture
def texts(rows):
    return [row["text"] for row in rows] + SENTENCES * 3


@pytest.fixture
def text_file(tmp_path, texts):
    """Return a gzipped file of one text a line."""
    file = tmp_path / "texts.txt.gz"
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        stream.writelines(f"{text}\n" for text in texts)
    return str(file)


@pytest.fixture
def teacher(tmp_path, texts):
    """Return the folder of a random BERT and its tokenizer."""
    folder = tmp_path / "teacher"
    tokenizer = train_tokenizer(texts)
    set_seed(0)
    sizes = {"hidden_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "config"
    options = {"num_hidden_layers": 2, "local_kernel_size": 3, "residual": True, "update_norm": True}
    WaveConfig(hidden_size=WIDTH, final_norm="pooled", hidden_dropout_prob=0.0, **options).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def arguments(tmp_path, teacher, text_file):
    return [
        *("--teacher_model_name_or_path", teacher, "--text_files", text_file, "--targets_dir", tmp_path / "targets"),
        *("--do_train", "--do_eval", "--learning_rate", 0.01),
    ]


def results_of(folder):
    return json.loads((folder / "all_results.json").read_text())


@pytest.mark.slow
def test_a_student_learns_the_vectors_of_its_teacher(run, arguments, config, teacher, texts):
    table = run(*arguments, "--config_name", config, "--table_only", "--num_train_epochs", 20, output="table")
    out = run(*arguments, "--model_name_or_path", table, "--num_train_epochs", 20, new=False)
    assert results_of(out)["eval_cosine"] > 0.9
    # Both libraries load it, with the same vectors; and it ranks texts as the teacher does.
    encoder = sentence_transformers.SentenceTransformer(str(out), device="cpu")
    vectors = encoder.encode(texts)
    model, tokenizer = AutoModel.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        pooled = model(batch["input_ids"], batch["attention_mask"]).pooler_output
    np.testing.assert_allclose(vectors, pooled, atol=1e-5)
    wanted = sentence_transformers.SentenceTransformer(teacher, device="cpu").encode(texts)
    similarities, wanted = (encoder.similarity(side, side).flatten() for side in (vectors, wanted))
    assert np.corrcoef(similarities, wanted)[0, 1] > 0.8


def test_static_vectors_pass_no_probe(run, arguments, config):
    results = results_of(run(*arguments, "--config_name", config, "--table_only"))
    assert results["eval_word_order_accuracy"] == results["eval_negation_accuracy"] == 0.5
    assert results["parameters_outside_token_table"] == 2 * WIDTH  # the final norm alone was trained


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cosine", "mse", "similarity", "contrastive"])
def test_every_loss_comes_down(run, arguments, config, loss):
    options = ("--config_name", config, "--losses", loss)
    before = run(*arguments, *options, "--max_steps", 1, output="before")
    after = run(*arguments, *options, "--num_train_epochs", 10, output="after")
    assert results_of(after)["eval_loss"] < results_of(before)["eval_loss"]


@pytest.mark.slow
def test_the_teacher_reads_each_text_once(run, arguments, config, tmp_path):
    run(*arguments, "--config_name", config, "--max_steps", 1, output="first")
    (shard,) = (tmp_path / "targets" / "teacher").glob("*.npy")
    stored = shard.stat().st_mtime_ns
    run(*arguments, "--config_name", config, "--max_steps", 1, output="second")
    assert shard.stat().st_mtime_ns == stored


@pytest.mark.slow
def test_rated_pairs_are_evaluated(run, arguments, config, write):
    pairs = [
        {"sentence1": first, "sentence2": second, "label": float(first == second)}
        for first in SENTENCES
        for second in SENTENCES
    ]
    out = run(*arguments, "--config_name", config, "--max_steps", 1, "--validation_file", write("rated.csv", pairs))
    assert results_of(out)["eval_spearman_cosine"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["texts.csv", "texts.json"])
def test_texts_of_a_column(run, arguments, config, write, texts, name):
    file = write(name, [{"body": text, "id": number} for number, text in enumerate(texts)])
    options = ("--text_files", file, "--text_column_name", "body", "--config_name", config, "--max_steps", 1)
    assert results_of(run(*arguments, *options))["train_samples"] == len(texts) - len(texts) // 20


def test_a_student_wider_than_its_teachers(refused, arguments, config):
    message = refused(*arguments, "--config_name", config, "--config_overrides", "hidden_size=17")
    assert "hidden_size" in message
    assert "only 16 dimensions" in message


@pytest.mark.slow
def test_other_texts_in_the_same_folder(run, refused, arguments, config, text_file):
    run(*arguments, "--config_name", config, "--max_steps", 1)
    with gzip.open(text_file, "at", encoding="utf-8") as stream:
        stream.write("one more text\n")
    assert "other texts" in refused(*arguments, "--config_name", config, "--output_dir", "other")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--losses", "cosin"), "cosine, mse, similarity, contrastive"),
        (("--losses", "cosine", "mse", "--loss_weights", 1), "1 values for 2 losses"),
        (("--loss_temperature", 0), "--loss_temperature is 0.0"),
        (("--text_files", "texts.doc"), "texts.doc should end in"),
        (("--text_column_name", "body"), "has no column body"),
    ],
)
def test_wrong_options(refused, arguments, config, options, expected):
    assert expected in refused(*arguments, "--config_name", config, *options)
