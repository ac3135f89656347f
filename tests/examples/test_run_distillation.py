"""Tests of `examples/run_distillation.py`: which teachers label what, what is cached, and what is refused."""

import shutil

import pytest
import run_classification
import run_distillation
import torch
from outputs import results
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from wave_hf import train_tokenizer
from wave_hf.training.teachers import Teacher

LABELS = ["kitchen", "weather"]
OTHER = {"weather": "kitchen", "kitchen": "weather"}


@pytest.fixture
def contrary(rows):
    """Return the rows with the wrong labels."""
    return [row | {"label": OTHER[row["label"]]} for row in rows]


@pytest.fixture
def teach(command_line, small_config, write, tmp_path):
    """Return a function that trains a teacher on rows and returns its folder and its file."""

    def train(name, rows):
        file = write(f"{name}.csv", rows)
        options = {"config_name": small_config, "learning_rate": 0.02, "num_train_epochs": 5}
        command_line("--do_train", "--use_cpu", train_file=file, output_dir=tmp_path / name, **options)
        run_classification.main()
        return str(tmp_path / name), file

    return train


@pytest.fixture
def random_teacher(tmp_path, rows):
    """Return the folder of a BERT of random weights."""
    tokenizer = train_tokenizer([row["text"] for row in rows])
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    id2label = dict(enumerate(LABELS))
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), id2label=id2label, initializer_range=1.0, **sizes)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "random")
    tokenizer.save_pretrained(tmp_path / "random")
    return str(tmp_path / "random")


@pytest.fixture
def run(command_line, small_config, train_file, tmp_path):
    """Return a function that distils in this process and returns the output folder."""

    def distil(*arguments, output="out", file=train_file):
        start = ["--do_train", "--use_cpu", "--disable_tqdm", "True", "--config_name", small_config]
        start += ["--train_file", file, "--teacher_logits_dir", tmp_path / "logits", "--output_dir", tmp_path / output]
        command_line(*start, *arguments)
        run_distillation.main()
        return tmp_path / output

    return distil


def kept_logits(tmp_path):
    return {file.name: file.stat().st_mtime_ns for file in (tmp_path / "logits").iterdir()}


class TestLabels:
    options = ("--do_eval", "--learning_rate", 0.02, "--num_train_epochs", 8, "--hard_loss_weight", 0)

    @pytest.mark.slow
    def test_a_student_learns_what_its_teacher_says_and_not_the_labels(self, run, teach, rows, write, contrary):
        teacher, _ = teach("teacher", rows)
        file = write("contrary.csv", contrary)
        out = run("--teacher_model_name_or_path", teacher, "--validation_file", file, *self.options, file=file)
        assert results(out)["eval_accuracy"] == 0

    @pytest.mark.slow
    def test_only_teachers_that_have_not_seen_a_row_label_it(self, run, teach, rows, contrary, train_file):
        other_texts = [row | {"text": row["text"] + " today"} for row in rows]
        (right, other_file), (wrong, _) = teach("right", other_texts), teach("wrong", contrary)
        out = run(
            *("--teacher_model_name_or_path", right, wrong, "--teacher_train_files", other_file, train_file),
            *("--validation_file", train_file, *self.options),
        )
        assert results(out)["eval_accuracy"] == 1

    def test_all_teachers_label_a_row_that_all_have_seen(self, run, random_teacher, train_file, tmp_path, caplog):
        shutil.copytree(random_teacher, tmp_path / "second")
        teachers = (random_teacher, tmp_path / "second")
        run(
            *("--teacher_model_name_or_path", *teachers, "--teacher_train_files", train_file, train_file),
            *("--max_steps", 1),
        )
        assert f"72 texts, labelled by {random_teacher}, {tmp_path / 'second'}" in caplog.text

    @pytest.mark.parametrize("option", ["--mixed_texts", "--reworded_texts"])
    def test_all_teachers_label_made_texts(self, run, random_teacher, write, train_file, tmp_path, caplog, option):
        second = shutil.copytree(random_teacher, tmp_path / "second")
        other_file = write("other.csv", [{"text": "a text of its own", "label": "food"}])
        run(
            *("--teacher_model_name_or_path", random_teacher, second, "--teacher_train_files", train_file, other_file),
            *(option, 1, "--max_steps", 1),
        )
        labelled = [message.split(": ")[1] for message in caplog.messages if message.startswith("Batch")]
        assert labelled == [
            f"72 texts, labelled by {second}",
            f"72 texts, labelled by {random_teacher}, {second}",
        ]

    def test_texts_without_labels_and_made_of_others_are_learnt_too(self, run, random_teacher, write, rows):
        unlabeled = write("unlabeled.csv", [{"text": row["text"]} for row in rows[:10]])
        out = run(
            *("--teacher_model_name_or_path", random_teacher, "--unlabeled_files", unlabeled),
            *("--mixed_texts", 2, "--reworded_texts", 1, "--max_steps", 1),
        )
        assert results(out)["train_samples"] == (72 + 10) * 4

    def test_the_agreement_of_the_teachers_is_logged(self, run, teach, rows, caplog):
        teacher, _ = teach("teacher", rows)
        run("--teacher_model_name_or_path", teacher, "--max_steps", 1)
        assert "The teachers agree with the labels of 100.00% of 72 labelled texts" in caplog.text


class TestCache:
    @pytest.mark.slow
    def test_logits_are_computed_once_even_if_the_teacher_moves(self, run, random_teacher, tmp_path, monkeypatch):
        arguments = ("--mixed_texts", 1, "--max_steps", 1, "--teacher_model_name_or_path")
        run(*arguments, random_teacher)
        kept = kept_logits(tmp_path)
        monkeypatch.delattr(Teacher, "compute_logits")
        run(*arguments, shutil.move(random_teacher, tmp_path / "moved"), "--seed", 2, output="again")
        assert kept_logits(tmp_path) == kept
        assert len(kept) == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("option", ["--mixed_texts", "--reworded_texts"])
    def test_a_further_round_leaves_the_others_valid(self, run, random_teacher, tmp_path, option):
        arguments = ("--teacher_model_name_or_path", random_teacher, "--max_steps", 1, option)
        run(*arguments, 1)
        before = kept_logits(tmp_path)
        run(*arguments, 2, output="more")
        after = kept_logits(tmp_path)
        assert len(after) == 3
        assert after.items() > before.items()

    @pytest.mark.slow
    @pytest.mark.parametrize("option", [("--max_seq_length", 5), ("--teacher_bf16",), ("--augmentation_seed", 3)])
    def test_what_makes_the_logits_makes_others(self, run, random_teacher, tmp_path, option):
        arguments = ("--teacher_model_name_or_path", random_teacher, "--mixed_texts", 1, "--max_steps", 1)
        run(*arguments)
        before = kept_logits(tmp_path)
        run(*arguments, *option, output="other")
        assert len(kept_logits(tmp_path).keys() - before.keys()) == (1 if "--augmentation_seed" in option else 2)

    def test_logits_of_other_texts_are_refused(self, run, random_teacher, tmp_path):
        arguments = ("--teacher_model_name_or_path", random_teacher, "--mixed_texts", 1, "--max_steps", 1)
        run(*arguments)
        first, second = sorted((tmp_path / "logits").iterdir())
        shutil.copy(first, second)
        with pytest.raises(SystemExit, match=f"{second} holds the logits of other texts, or of another teacher"):
            run(*arguments, output="again")

    def test_damaged_logits_are_refused(self, run, random_teacher, tmp_path):
        arguments = ("--teacher_model_name_or_path", random_teacher, "--max_steps", 1)
        run(*arguments)
        (file,) = (tmp_path / "logits").iterdir()
        file.write_bytes(file.read_bytes()[:-8])
        with pytest.raises(SystemExit, match=f"^Logits {file}: [^\n]+$"):
            run(*arguments, output="again")


class TestRefusals:
    def test_a_teacher_of_other_labels(self, refused, random_teacher, write, rows):
        file = write("other.csv", [row | {"label": row["label"].upper()} for row in rows])
        line = refused("--teacher_model_name_or_path", random_teacher, file=file)
        assert "knows the labels kitchen, weather, but the training data has KITCHEN, WEATHER" in line

    def test_a_teacher_with_the_tokenizer_of_another(self, refused, random_teacher, rows):
        texts = [f"{row['text']} {number}" for number, row in enumerate(rows)]
        train_tokenizer(texts).save_pretrained(random_teacher)
        line = refused("--teacher_model_name_or_path", random_teacher)
        assert f"Teacher {random_teacher}: the model: the tokenizer has ids up to" in line

    def test_a_teacher_with_damaged_weights(self, refused, random_teacher):
        file = f"{random_teacher}/model.safetensors"
        weights = load_file(file)
        weights["classifier.bias"][0] = float("nan")
        save_file(weights, file, metadata={"format": "pt"})
        line = refused("--teacher_model_name_or_path", random_teacher)
        assert line == f"Teacher {random_teacher} returns logits that are not finite"

    def test_no_such_teacher(self, refused, tmp_path):
        assert f"Teacher {tmp_path / 'nobody'}" in refused("--teacher_model_name_or_path", tmp_path / "nobody")

    def test_unlabelled_texts_with_labels(self, refused, random_teacher, train_file):
        line = refused("--teacher_model_name_or_path", random_teacher, "--unlabeled_files", train_file)
        assert f"{train_file} has a column label" in line

    def test_unlabelled_texts_without_texts(self, refused, random_teacher, write):
        file = write("unlabeled.csv", [{"words": "soup"}])
        line = refused("--teacher_model_name_or_path", random_teacher, "--unlabeled_files", file)
        assert f"The {file} data has no column sentence" in line

    def test_several_labels_a_text(self, refused, random_teacher, write, rows):
        file = write("topics.json", [row | {"label": [row["label"]]} for row in rows])
        assert "multi_label_classification" in refused("--teacher_model_name_or_path", random_teacher, file=file)

    def test_nothing_to_train(self, command_line, small_config, random_teacher):
        command_line("--do_eval", model_name_or_path=random_teacher, teacher_model_name_or_path=random_teacher)
        with pytest.raises(SystemExit, match="Nothing to distil: pass --do_train"):
            run_distillation.main()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "--teacher_model_name_or_path should name at least one teacher"),
            (["--teacher_train_files", "a.csv", "b.csv"], "names 2 files, but should name one for each of 1 teachers"),
            (["--unlabeled_files", "texts.txt"], "texts.txt is neither a .csv nor a .json file"),
            (["--temperature", 0], "--temperature is 0.0, but should be above 0"),
            (["--hard_loss_weight", 2], "--hard_loss_weight is 2.0, but should lie between 0 and 1"),
            (["--mixed_texts", -1], "--mixed_texts is -1, but should be 0 or more"),
            (["--reworded_texts", -2], "--reworded_texts is -2, but should be 0 or more"),
        ],
    )
    def test_impossible_arguments(self, refused, random_teacher, arguments, message):
        assert message in refused(*(arguments and ["--teacher_model_name_or_path", random_teacher]), *arguments)
