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
import run_mlm
import torch
import transformers
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from conftest import to_strings
from outputs import assert_equal_weights, results, weights
from packaging.version import Version

from wave_hf import WaveForSequenceClassification

EXAMPLES = Path(run_glue.__file__).parent
CONFIGS = EXAMPLES / "accelerate"
ACCELERATE = ("-m", "accelerate.commands.launch")
LAUNCHERS = {
    "torchrun": ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2),
    "accelerate": (*ACCELERATE, "--config_file", CONFIGS / "cpu_2_processes.yaml"),
}
# Runs several scripts one after the other, as the start of the processes takes longer than such a script. Each process
# writes down what each script ends with. In arguments, RANK stands for the number of the process.
RUN_EACH = """
import json, os, runpy, sys
from pathlib import Path
from accelerate.state import AcceleratorState

environment, ends = dict(os.environ), []
rank = environment.get("RANK", "0")
for script, *arguments in json.loads(sys.argv[1]):
    os.environ.clear()
    os.environ.update(environment)
    AcceleratorState._reset_state()
    sys.argv = [script, *(argument.replace("RANK", rank) for argument in arguments)]
    try:
        runpy.run_path(script, run_name="__main__")
        ends.append(None)
    except SystemExit as end:
        ends.append(end.code)
Path(__file__).with_name(f"ends{rank}.json").write_text(json.dumps(ends))
"""


@pytest.fixture
def launch(run_process, tmp_path) -> Callable[..., list[list[Any]]]:
    """Return a function that runs scripts on two processes and returns what they end with on each process."""
    (tmp_path / "run_each.py").write_text(RUN_EACH)

    def launch(launcher: str | tuple, *commands: tuple[ModuleType, dict[str, Any]]) -> list[list[Any]]:
        prefix = LAUNCHERS[launcher] if isinstance(launcher, str) else launcher
        arguments = [to_strings([script.__file__], options) for script, options in commands]
        ended = run_process(*prefix, tmp_path / "run_each.py", json.dumps(arguments))
        assert ended.returncode == 0, ended.stderr
        return [json.loads(file.read_text()) for file in sorted(tmp_path.glob("ends*.json"))]

    return launch


@pytest.fixture
def train_alone(command_line, tmp_path) -> Callable[..., Path]:
    """Return a function that trains in this process and returns the output folder."""

    def train(script: ModuleType, **options: Any) -> Path:
        out = tmp_path / f"alone-{script.__name__}"
        command_line(output_dir=out, **options)
        script.main()
        assert results(out)["world_size"] == 1
        return out

    return train


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

    @pytest.fixture
    def trainer_options(self, options) -> dict[str, Any]:
        # One step of SGD moves the weights by their gradients, if nothing clips these and the learning rate is 1.
        options = options | {"do_train": True, "optim": "sgd", "learning_rate": 1, "max_grad_norm": 0, "max_steps": 3}
        return options | {"save_steps": 1}

    @pytest.fixture
    def loop_options(self, options, train_file) -> dict[str, Any]:
        options = options | {"validation_file": train_file, "learning_rate": 0.01, "max_grad_norm": 1e9}
        return options | {"max_train_steps": 4, "checkpointing_steps": 1}

    @pytest.mark.parametrize(
        ("launcher", "split", "precision"),
        [
            ("torchrun", {"per_device_train_batch_size": 4}, "no"),
            (
                "accelerate",
                {
                    "per_device_train_batch_size": 2,
                    "gradient_accumulation_steps": 2,
                    "gradient_checkpointing": True,
                },
                "bf16",
            ),
        ],
    )
    def test_gradients_and_weights(
        self, launch, train_alone, trainer_options, loop_options, tmp_path, launcher, split, precision
    ):
        trained, looped = tmp_path / "trained", tmp_path / "looped"
        launch(
            launcher,
            (run_glue, trainer_options | split | {"output_dir": trained}),
            (run_glue_no_trainer, loop_options | split | {"output_dir": looped, "mixed_precision": precision}),
        )
        assert results(trained)["world_size"] == results(looped)["world_size"] == 2

        alone = train_alone(run_glue, per_device_train_batch_size=8, **trainer_options)
        first, last = weights(alone / "checkpoint-1"), weights(alone)
        assert all((first[name] - last[name]).abs().max() > 1e-3 for name in last)
        for step in (1, 2, 3):
            assert_equal_weights(trained / f"checkpoint-{step}", alone / f"checkpoint-{step}")
        assert_equal_weights(trained, alone)

        alone = train_alone(run_glue_no_trainer, per_device_train_batch_size=8, **loop_options)
        gradients = first_gradients(alone)
        assert gradients.abs().max() > 1e-2
        first, last = weights(alone / "step_1"), weights(alone)
        assert max((first[name] - last[name]).abs().max() for name in last) > 0.01
        if precision == "no":
            torch.testing.assert_close(first_gradients(looped), gradients, atol=1e-6, rtol=0)
            # AdamW divides by the size of the gradients, and so enlarges rounding errors of small ones.
            assert_equal_weights(looped, alone, tolerance=1e-4)
        else:
            difference = (first_gradients(looped) - gradients).norm() / gradients.norm()
            assert 1e-4 < difference < 0.03
            assert {weight.dtype for weight in weights(looped).values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.skipif(
    Version("5.18") > Version(transformers.__version__),
    reason="needs transformers 5.18",
)
def test_resumed_run_ends_as_the_uninterrupted_one(launch, small_config, train_file, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
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
    launch(
        "accelerate",
        (run_classification, options | {"output_dir": whole}),
        (
            run_classification,
            options | {"output_dir": resumed, "resume_from_checkpoint": whole / "checkpoint-12"},
        ),
    )
    assert results(whole)["world_size"] == results(resumed)["world_size"] == 2
    assert_equal_weights(resumed, whole)


@pytest.mark.slow
def test_streams_are_shared(launch, small_config, tmp_path, rows):
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"{row['text']}\n" for row in rows))
    options = {"config_name": small_config, "train_file": file, "validation_file": file, "streaming": True}
    options |= {"do_train": True, "do_eval": True, "max_steps": 3, "max_seq_length": 24}
    joined, lines = tmp_path / "joined", tmp_path / "lines"
    launch(
        "torchrun",
        (run_mlm, options | {"output_dir": joined}),
        (run_mlm, options | {"output_dir": lines, "line_by_line": True}),
    )
    assert all(results(out)["world_size"] == 2 and results(out)["eval_loss"] > 0 for out in (joined, lines))


@pytest.mark.slow
class TestWrongInput:
    def test_one_process_writes_one_line(self, run_process, tmp_path):
        out = tmp_path / "refused"
        options = {"task_name": "sst3", "do_train": True, "output_dir": out}
        ended = run_process(*LAUNCHERS["torchrun"], run_glue.__file__, **options)
        assert ended.returncode != 0
        # The launcher adds a traceback and a summary of its own.
        assert f'File "{EXAMPLES}' not in ended.stderr
        (line,) = [text for text in ended.stderr.splitlines() if text.startswith("Arguments: ")]
        assert "sst3 is unknown" in line
        assert not out.exists()

    def test_all_processes_exit(self, launch, train_alone, write, rows, train_file, small_config, tmp_path):
        pairs = [{"sentence1": row["text"], "sentence2": row["text"], "label": "similar"} for row in rows]
        run = {"config_name": small_config, "train_file": train_file, "do_train": True, "max_steps": 1}
        checkpoint = train_alone(run_glue, save_steps=1, **run) / "checkpoint-1"
        other_network = {"config_overrides": "hidden_size=8", "resume_from_checkpoint": checkpoint}
        for name, first, second in (
            ("order", rows, rows[::-1]),
            ("labels", rows, [{"text": row["text"]} for row in rows]),
        ):
            write(f"{name}0.csv", first)
            write(f"{name}1.csv", second)
        loop = {"config_name": small_config}
        cases = [
            (run_classification, run | {"label_column_name": "topic"}, "The train data has no column topic, but text"),
            (
                run_glue_no_trainer,
                loop | {"task_name": "stsb", "train_file": write("pairs.csv", pairs)},
                "The labels of the train data: ",
            ),
            (run_glue, run | other_network, "--resume_from_checkpoint: "),
            (
                run_glue,
                run | {"train_file": tmp_path / "orderRANK.csv"},
                "The processes of this run have different train data",
            ),
            (
                run_glue_no_trainer,
                loop | {"train_file": tmp_path / "labelsRANK.csv"},
                "The train data has no column label",
            ),
        ]
        outputs = [tmp_path / f"refused{number}" for number in range(len(cases))]
        commands = [
            (script, options | {"output_dir": output})
            for (script, options, _), output in zip(cases, outputs, strict=True)
        ]
        lines, others = launch("accelerate", *commands)
        assert others == [1] * len(cases)
        for line, (_, _, expected), output in zip(lines, cases, outputs, strict=True):
            assert line.startswith(expected)
            assert "\n" not in line
            assert not output.exists()
        assert "similar" in lines[1]
        assert "hidden_size=16" in lines[2]
        assert "hidden_size=8" in lines[2]

    def test_launcher_that_starts_one_process_of_two(self, launch, train_file, small_config, tmp_path):
        options = {"config_name": small_config, "train_file": train_file, "output_dir": tmp_path / "refused"}
        launcher = (*ACCELERATE, "--cpu", "--num_processes", 2)
        commands = ((run_glue, options | {"do_train": True}), (run_glue_no_trainer, options))
        (lines,) = launch(launcher, *commands)
        assert all(line.startswith("The launcher was asked for ") for line in lines)
        assert all("examples/accelerate" in line for line in lines)
        assert not (tmp_path / "refused").exists()


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
