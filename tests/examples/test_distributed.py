"""Tests of the example scripts on two processes, which a launcher starts as a user would."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import run_classification
import run_glue
import run_glue_no_trainer
import torch
import transformers
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from packaging.version import Version
from safetensors.torch import load_file

from wave_hf import WaveForSequenceClassification

EXAMPLES = Path(run_glue.__file__).parent
CONFIGS = EXAMPLES / "accelerate"
ACCELERATE = ("-m", "accelerate.commands.launch")
LAUNCHERS = {
    "torchrun": ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2),
    "accelerate": (*ACCELERATE, "--config_file", CONFIGS / "cpu_2_processes.yaml"),
}
# Runs the script it is given, each process with a file of its own.
FILE_BY_RANK = """
import os, runpy, sys

script, folder = sys.argv[1:3]
sys.argv[1:3] = ["--train_file", f"{folder}/rank{os.environ['RANK']}.csv"]
sys.path.insert(0, os.path.dirname(script))
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture
def launch(run_process, tmp_path) -> Callable[..., Path]:
    """Return a function that trains on two processes and returns the output folder."""

    def launch(launcher: str, script: ModuleType, output: str, **options: Any) -> Path:
        out = tmp_path / output
        ended = run_process(*LAUNCHERS[launcher], script.__file__, output_dir=out, **options)
        assert ended.returncode == 0, ended.stderr
        assert json.loads((out / "all_results.json").read_text())["world_size"] == 2
        return out

    return launch


@pytest.fixture
def train_alone(command_line, tmp_path) -> Callable[..., Path]:
    """Return a function that trains in this process and returns the output folder."""

    def train(script: ModuleType, **options: Any) -> Path:
        out = tmp_path / "alone"
        command_line(output_dir=out, **options)
        script.main()
        assert json.loads((out / "all_results.json").read_text())["world_size"] == 1
        return out

    return train


@pytest.fixture
def refused(run_process, tmp_path) -> Callable[..., str]:
    """Return a function that expects a launch to end with one line from one process, and returns the line."""

    def run_refused(*command: Any, line: str, **options: Any) -> str:
        out = tmp_path / "refused"
        ended = run_process(*command, output_dir=out, **options)
        assert ended.returncode != 0
        # The launcher adds a traceback and a summary of its own.
        assert f'File "{EXAMPLES}' not in ended.stderr
        lines = [text for text in ended.stderr.splitlines() if text.startswith(line)]
        assert len(lines) == 1, ended.stderr
        assert not out.exists()
        return lines[0]

    return run_refused


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_equal_weights(folder: Path, other: Path, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(weights(folder), weights(other), atol=tolerance, rtol=0)


def first_gradients(run_folder: Path) -> torch.Tensor:
    """Return all gradients of the first step of AdamW, which keeps (1 - beta1) of them."""
    state = torch.load(run_folder / "step_1" / "optimizer.bin", weights_only=True)
    beta = state["param_groups"][0]["betas"][0]
    return torch.cat([values["exp_avg"].flatten() for values in state["state"].values()]) / (1 - beta)


@pytest.mark.slow
class TestEqualsOneProcess:
    @pytest.fixture
    def options(self, small_config, train_file) -> dict[str, Any]:
        # Weights this large have gradients far above rounding errors.
        overrides = "hidden_dropout_prob=0,initializer_range=0.5"
        return {"config_name": small_config, "config_overrides": overrides, "train_file": train_file}

    @pytest.mark.parametrize(
        ("launcher", "split"),
        [
            ("torchrun", {"per_device_train_batch_size": 4}),
            (
                "accelerate",
                {
                    "per_device_train_batch_size": 2,
                    "gradient_accumulation_steps": 2,
                    "gradient_checkpointing": True,
                },
            ),
        ],
    )
    def test_weights_of_every_step_of_run_glue(self, launch, train_alone, options, launcher, split):
        # One step of SGD moves the weights by their gradients, if nothing clips these and the learning rate is 1.
        options |= {"do_train": True, "optim": "sgd", "learning_rate": 1, "max_grad_norm": 0, "max_steps": 3}
        options |= {"save_steps": 1}
        alone = train_alone(run_glue, per_device_train_batch_size=8, **options)
        both = launch(launcher, run_glue, "both", **options, **split)
        first = weights(alone / "checkpoint-1")
        last = weights(alone)
        assert all((first[name] - last[name]).abs().max() > 1e-3 for name in last)
        for step in (1, 2, 3):
            assert_equal_weights(both / f"checkpoint-{step}", alone / f"checkpoint-{step}")
        assert_equal_weights(both, alone)

    @pytest.fixture
    def loop_options(self, options, train_file) -> dict[str, Any]:
        options |= {"validation_file": train_file, "learning_rate": 0.01, "max_grad_norm": 1e9}
        return options | {"max_train_steps": 4, "checkpointing_steps": 1}

    def test_gradients_and_weights_of_run_glue_no_trainer(self, launch, train_alone, loop_options):
        alone = train_alone(run_glue_no_trainer, per_device_train_batch_size=8, **loop_options)
        both = launch("torchrun", run_glue_no_trainer, "both", per_device_train_batch_size=4, **loop_options)
        gradients = first_gradients(alone)
        assert gradients.abs().max() > 1e-2
        torch.testing.assert_close(first_gradients(both), gradients, atol=1e-6, rtol=0)
        # AdamW divides by the size of the gradients, and so enlarges rounding errors of small ones.
        assert_equal_weights(both, alone, tolerance=1e-4)
        assert (
            max((weights(alone)[name] - weights(alone / "step_1")[name]).abs().max() for name in weights(alone)) > 0.01
        )

    def test_bf16_differs_from_it_by_rounding(self, launch, train_alone, loop_options):
        alone = train_alone(run_glue_no_trainer, per_device_train_batch_size=8, **loop_options)
        split = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "gradient_checkpointing": True}
        both = launch("accelerate", run_glue_no_trainer, "both", mixed_precision="bf16", **split, **loop_options)
        gradients = first_gradients(alone)
        difference = (first_gradients(both) - gradients).norm() / gradients.norm()
        assert 1e-4 < difference < 0.03
        assert {weight.dtype for weight in weights(both).values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.skipif(
    Version("5.18") > Version(transformers.__version__),
    reason="needs transformers 5.18",
)
def test_resumed_run_ends_as_the_uninterrupted_one(launch, small_config, train_file):
    options = {
        "config_name": small_config,
        "train_file": train_file,
        "do_train": True,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "gradient_checkpointing": True,
        "bf16": True,
        "learning_rate": 0.02,
        "save_steps": 12,  # of 18, 9 in each epoch
    }
    whole = launch("torchrun", run_classification, "whole", **options)
    resumed = launch(
        "accelerate", run_classification, "resumed", resume_from_checkpoint=whole / "checkpoint-12", **options
    )
    assert_equal_weights(resumed, whole)


@pytest.mark.slow
class TestWrongInput:
    def test_unknown_task(self, refused):
        line = refused(*LAUNCHERS["torchrun"], run_glue.__file__, task_name="sst3", do_train=True, line="Arguments: ")
        assert "sst3 is unknown" in line

    def test_no_label_column(self, refused, train_file, small_config):
        refused(
            *LAUNCHERS["torchrun"],
            run_classification.__file__,
            config_name=small_config,
            train_file=train_file,
            label_column_name="topic",
            do_train=True,
            line="The train data has no column topic, but text, label",
        )

    def test_words_where_the_task_has_numbers(self, refused, write, rows, small_config):
        pairs = [{"sentence1": row["text"], "sentence2": row["text"], "label": "similar"} for row in rows]
        line = refused(
            *LAUNCHERS["accelerate"],
            run_glue_no_trainer.__file__,
            config_name=small_config,
            task_name="stsb",
            train_file=write("pairs.csv", pairs),
            line="The labels of the train data: ",
        )
        assert "similar" in line

    def test_resume_with_another_network(self, refused, train_alone, train_file, small_config):
        options = {"config_name": small_config, "train_file": train_file, "do_train": True, "max_steps": 1}
        checkpoint = train_alone(run_glue, save_steps=1, **options) / "checkpoint-1"
        line = refused(
            *LAUNCHERS["torchrun"],
            run_glue.__file__,
            config_overrides="hidden_size=8",
            resume_from_checkpoint=checkpoint,
            **options,
            line="--resume_from_checkpoint: ",
        )
        assert "hidden_size=16" in line
        assert "hidden_size=8" in line

    @pytest.fixture
    def run_with_file_by_rank(self, refused, write, small_config, tmp_path) -> Callable[..., str]:
        def run(script: ModuleType, first: list, second: list, **options: Any) -> str:
            write("rank0.csv", first)
            write("rank1.csv", second)
            wrapper = tmp_path / "file_by_rank.py"
            wrapper.write_text(FILE_BY_RANK)
            command = (*LAUNCHERS["torchrun"], wrapper, script.__file__, tmp_path)
            return refused(*command, config_name=small_config, **options)

        return run

    def test_processes_with_different_rows(self, run_with_file_by_rank, rows):
        line = "The processes of this run have different train data"
        run_with_file_by_rank(run_glue, rows, rows[::-1], do_train=True, line=line)

    def test_only_the_second_process_cannot_read_its_rows(self, run_with_file_by_rank, rows):
        unlabelled = [{"text": row["text"]} for row in rows]
        run_with_file_by_rank(run_glue_no_trainer, rows, unlabelled, line="The train data has no column label")

    @pytest.mark.parametrize("script", [run_glue, run_glue_no_trainer])
    def test_launcher_that_starts_one_process_of_two(self, refused, script, train_file, small_config):
        do_train = {"do_train": True} if script is run_glue else {}
        line = refused(
            *(*ACCELERATE, "--cpu", "--num_processes", 2, script.__file__),
            config_name=small_config,
            train_file=train_file,
            **do_train,
            line="The launcher was asked for ",
        )
        assert "examples/accelerate" in line


class TestAccelerateConfigs:
    @pytest.mark.parametrize("file", sorted(CONFIGS.iterdir()), ids=lambda file: file.name)
    def test_says_what_it_is_for_and_loads(self, file):
        assert file.read_text().startswith("# ")
        config = load_config_from_file(str(file))
        known = vars(launch_command_parser().parse_args(["script.py"]))
        assert config.fsdp_config.keys() <= known.keys()

    def test_layers_to_shard_are_those_of_the_network(self):
        config = load_config_from_file(str(CONFIGS / "fsdp2.yaml"))
        layers = [config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"]]
        assert layers == WaveForSequenceClassification._no_split_modules
