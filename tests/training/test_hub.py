"""The command line on a model card."""

import shlex

import pytest

from wave_hf.training.hub import hide_folders, hide_tokens


@pytest.mark.parametrize("token", ["hf_abc", "with a space", "it's", "$x"])
def test_tokens_are_hidden_however_they_are_passed(token):
    arguments = [
        "run.py",
        "--token",
        token,
        f"--hub_token={token}",
        "--dataset_name",
        f"https://user:{token}@host/data",
    ]
    command = hide_tokens(arguments, token, None)
    assert token not in command
    expected = ["--token", "TOKEN", "--hub_token=TOKEN", "--dataset_name", "https://user:TOKEN@host/data"]
    assert shlex.split(command) == ["python", "run.py", *expected]


def test_command_without_tokens_is_that_of_the_user():
    assert hide_tokens(["run.py", "--output_dir", "a b"], None, "") == "python run.py --output_dir 'a b'"


def test_folders_of_this_machine_are_hidden():
    arguments = [
        "/home/me/run.py",
        "--train_file",
        "/home/me/a b/train.csv",
        "--output_dir=/out/",
        "../test.csv",
    ]
    shown = ["run.py", "--train_file", "train.csv", "--output_dir=out", "../test.csv"]
    assert hide_folders([*arguments, "--config_overrides", "a=1/2"]) == [*shown, "--config_overrides", "a=1/2"]
