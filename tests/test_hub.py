"""Tests of sharing models on the Hub, over HTTP.

The Hub is that of hub_server.py or, if HF_TOKEN is set, the real one: there the tests create repositories named
wave-hf-test-* and delete them again. As huggingface_hub reads its settings when it is imported, all calls of the Hub
run in another process: the tests send it the functions at the top.
"""

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import huggingface_hub
import pytest
import torch
from builders import ALL_PARTS, tiny_config, tiny_model
from hub_server import READ_TOKEN, TOKEN, HubServer
from pages import DOCS, marked_block
from test_registration import STRANGER
from torch.testing import assert_close
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from wave_hf import WaveForSequenceClassification, train_tokenizer

pytestmark = pytest.mark.slow

REAL_TOKEN = os.environ.get("HF_TOKEN")
WRONG_TOKEN = "hf_wrong"
INPUT_IDS = torch.arange(12).view(2, 6)
TEXTS = [f"{number} {noun}" for noun in ("rain", "snow", "soup", "bread") for number in range(8)]
SCRIPTS = ["run_classification", "run_glue", "run_glue_no_trainer"]
DIED = 9


def call(function: Callable, *args: Any, **options: Any) -> Any:
    """Call a function, and convert its error: those of the libraries cannot be pickled, but their messages can."""
    try:
        return function(*args, **options)
    except Exception as error:
        raise (OSError if isinstance(error, OSError) else RuntimeError)(str(error)) from error


def network(number: int) -> PreTrainedModel:
    """Return a network whose logits differ for each number."""
    model = tiny_model(**ALL_PARTS)
    with torch.no_grad():
        model.classifier.bias += number
    return model


def expected_logits(number: int) -> torch.Tensor:
    return network(number)(INPUT_IDS).logits.detach()


def logits(name: str | Path, **options: Any) -> torch.Tensor:
    """Load a network and return its logits for INPUT_IDS."""
    return AutoModelForSequenceClassification.from_pretrained(name, **options)(INPUT_IDS).logits.detach()


def ask(method: str, *args: Any, **options: Any) -> Any:
    """Call a function of huggingface_hub by its name: pickled, it would carry the settings of this process."""
    return getattr(huggingface_hub, method)(*args, **options)


def push(thing: Any, repository: str, **options: Any) -> huggingface_hub.CommitInfo:
    return thing.push_to_hub(repository, **options)


def push_files(repository: str, files: dict[str, bytes]) -> None:
    huggingface_hub.create_repo(repository)
    for name, content in files.items():
        huggingface_hub.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repository)


def push_and_die_before_the_commit(thing: Any, repository: str) -> None:
    """Upload large files, and end as if the process had been killed just before the commit."""

    def die(request: Any) -> None:
        if "/commit/" in request.url.path:
            os._exit(DIED)

    huggingface_hub.get_session().event_hooks["request"].append(die)
    thing.push_to_hub(repository)


def train_and_push(repository: str, output_dir: Path) -> torch.Tensor:
    """Train with Trainer, and return the logits of the trained network."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    model = WaveForSequenceClassification(tiny_config(vocab_size=len(tokenizer)))
    hub = {"push_to_hub": True, "hub_model_id": repository, "hub_private_repo": True}
    args = TrainingArguments(output_dir, max_steps=2, report_to="none", use_cpu=True, disable_tqdm=True, **hub)
    rows = [{**tokenizer(text), "labels": 0} for text in TEXTS]
    trainer = Trainer(model, args, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.push_to_hub()
    return model.eval()(INPUT_IDS).logits.detach()


def run_sharing_page(repository: str) -> None:
    """Run what the page on sharing says."""
    code = marked_block(DOCS / "sharing.md", "hub")
    names = {"model": network(1), "tokenizer": train_tokenizer(TEXTS, vocab_size=60)}
    exec(code.replace("you/waves", repository), globals() | names)


def run_script(name: str, options: dict[str, Any]) -> None:
    sys.argv = [f"{name}.py", *(str(part) for option, value in options.items() for part in (f"--{option}", value))]
    importlib.import_module(name).main()


@dataclass
class Hub:
    """A Hub, and a process that is logged in to it."""

    process: ProcessPoolExecutor

    def run(self, function: Callable, *args: Any, **options: Any) -> Any:
        """Run a function in that process, and return its result or raise its error."""
        return self.process.submit(call, function, *args, **options).result(timeout=120)

    @property
    def user(self) -> str:
        return self.run(ask, "whoami")["name"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Return a Hub, and set its address in the environment of the processes that tests start."""
    with nullcontext() if REAL_TOKEN else HubServer() as server, pytest.MonkeyPatch.context() as environment:
        settings = {"HF_HOME": tmp_path_factory.mktemp("home"), "DISABLE_SAFETENSORS_CONVERSION": 1}
        if server is not None:
            settings |= {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": 1, "NO_PROXY": "*"}
        for name, value in settings.items():
            environment.setenv(name, str(value))
        environment.delenv("HF_HUB_OFFLINE", raising=False)
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
            yield Hub(process)


@pytest.fixture
def repository(hub: Hub) -> Iterator[str]:
    """Return the name of a repository that does not exist yet."""
    name = f"{hub.user}/wave-hf-test-{uuid4().hex[:12]}"
    yield name
    hub.run(ask, "delete_repo", name, missing_ok=True)


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Return the options of a script that trains for a moment and pushes the result."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"{text},label {i % 2}\n" for i, text in enumerate(TEXTS)))
    tiny_config(vocab_size=60).save_pretrained(tmp_path / "config")
    files = {"train_file": rows, "validation_file": rows, "config_name": tmp_path / "config"}
    return files | {"output_dir": tmp_path / "out", "num_train_epochs": 1, "push_to_hub": True}


def of_script(script: str, options: dict[str, Any]) -> dict[str, Any]:
    """Add the options that only scripts with Trainer have."""
    trainer = {} if script == "run_glue_no_trainer" else {"do_train": True, "do_eval": True, "disable_tqdm": True}
    return options | trainer


def end_of_script(hub: Hub, script: str, options: dict[str, Any]) -> str:
    """Run a script that fails with a message of one line, and return the line."""
    with pytest.raises(SystemExit) as end:
        hub.run(run_script, script, of_script(script, options))
    assert "\n" not in end.value.code
    return end.value.code


def test_every_commit_can_be_loaded_after_later_ones(hub, repository):
    tokenizer = train_tokenizer(TEXTS, vocab_size=60)
    commits = [hub.run(push, thing, repository).oid for thing in (network(1), tokenizer, network(2))]
    for commit, number in zip([*commits, "main"], (1, 1, 2, 2), strict=True):
        assert_close(hub.run(logits, repository, revision=commit), expected_logits(number))
    assert hub.run(AutoTokenizer.from_pretrained, repository).get_vocab() == tokenizer.get_vocab()
    files = {file.rfilename for file in hub.run(ask, "model_info", repository).siblings}
    assert files >= {"config.json", "model.safetensors", "configuration_wave.py", "modeling_wave.py", "README.md"}


def test_readme_shares_a_model(hub, repository):
    hub.run(run_sharing_page, repository)
    assert_close(hub.run(logits, repository), expected_logits(1))


def test_branches_and_pull_requests_leave_the_main_branch_alone(hub, repository):
    hub.run(push, network(1), repository)
    hub.run(push, network(2), repository, revision="trial")
    pull_request = hub.run(push, network(3), repository, create_pr=True).pr_revision
    for revision, number in {"main": 1, "trial": 2, pull_request: 3}.items():
        assert_close(hub.run(logits, repository, revision=revision), expected_logits(number))


def test_private_repository_takes_a_token(hub, repository, tmp_path):
    hub.run(push, network(1), repository, private=True)
    assert_close(hub.run(logits, repository), expected_logits(1))
    for token in (False, WRONG_TOKEN):
        with pytest.raises(OSError, match=repository):
            hub.run(logits, repository, token=token, cache_dir=tmp_path)


def test_trainer_pushes_what_it_trained(hub, repository, tmp_path):
    trained = hub.run(train_and_push, repository, tmp_path)
    assert_close(hub.run(logits, repository), trained)
    assert hub.run(AutoTokenizer.from_pretrained, repository).tokenize("rain")
    assert hub.run(ask, "model_info", repository).private


def test_repository_loads_without_the_package(hub, repository, tmp_path):
    hub.run(push, network(1), repository)
    command = [sys.executable, "-I", "-c", STRANGER, repository, tmp_path]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    seen = json.loads(result.stdout.splitlines()[-1])
    assert "trust_remote_code=True" in seen["refusal"]
    assert_close(torch.tensor(seen["logits"]), expected_logits(1))


def test_push_that_dies_half_way_changes_nothing(hub, repository):
    hub.run(push, network(1), repository)
    dying = multiprocessing.get_context("spawn").Process(
        target=push_and_die_before_the_commit, args=(network(2), repository)
    )
    dying.start()
    dying.join(timeout=120)
    assert dying.exitcode == DIED
    assert_close(hub.run(logits, repository), expected_logits(1))
    hub.run(push, network(2), repository)
    assert_close(hub.run(logits, repository), expected_logits(2))


def test_missing_repositories_and_revisions_are_named(hub, repository):
    with pytest.raises(OSError, match=repository):
        hub.run(logits, repository)
    hub.run(push, network(1), repository)
    with pytest.raises(OSError, match="no-such-branch"):
        hub.run(logits, repository, revision="no-such-branch")


DAMAGED_WEIGHTS = "The weights of .* are truncated or damaged"


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("model.safetensors", lambda content: content[:-1], DAMAGED_WEIGHTS),
        ("model.safetensors", lambda content: b"\xff" * 8 + content[8:], DAMAGED_WEIGHTS),
        ("config.json", lambda content: content.replace(b": 8", b": -8"), r"config\.json of .*: hidden_size is -8"),
    ],
    ids=["weights without an end", "weights without a header", "config"],
)
def test_damaged_file_is_named(file, damage, message, hub, repository, tmp_path):
    network(1).save_pretrained(tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.run(push_files, repository, files | {file: damage(files[file])})
    with pytest.raises((OSError, RuntimeError), match=message) as error:
        hub.run(logits, repository)
    assert repository in str(error.value)


def test_pickled_weights_are_refused(hub, repository, tmp_path):
    network(1).save_pretrained(tmp_path)
    torch.save(network(1).state_dict(), tmp_path / "pytorch_model.bin")
    hub.run(
        push_files, repository, {name: (tmp_path / name).read_bytes() for name in ("config.json", "pytorch_model.bin")}
    )
    with pytest.raises(OSError, match=r"not appear to have a file named model\.safetensors"):
        hub.run(logits, repository)


def test_card_on_the_hub_reports_the_run(hub, repository, options):
    hub.run(run_script, "run_classification", of_script("run_classification", options | {"hub_model_id": repository}))
    card = huggingface_hub.ModelCard.load(hub.run(ask, "hf_hub_download", repository, "README.md"))
    (result,) = card.data.eval_results
    results = json.loads((options["output_dir"] / "all_results.json").read_text())
    assert (result.metric_type, result.metric_value) == ("accuracy", pytest.approx(results["eval_accuracy"], abs=1e-4))
    assert f"--hub_model_id {repository}" in card.text


@pytest.mark.parametrize("script", SCRIPTS)
class TestScripts:
    def test_push_what_they_trained(self, script, hub, repository, options):
        hub.run(run_script, script, of_script(script, options | {"hub_model_id": repository}))
        assert_close(hub.run(logits, repository), logits(options["output_dir"]))

    def test_end_before_training_if_the_token_is_wrong(self, script, hub, repository, options):
        reason = end_of_script(hub, script, options | {"hub_model_id": repository, "hub_token": WRONG_TOKEN})
        assert reason.startswith(f"--push_to_hub: {repository}: ")
        assert not options["output_dir"].exists()

    def test_end_before_training_in_the_namespace_of_another(self, script, hub, options):
        repository = f"no-such-user-{uuid4().hex[:12]}/model"
        assert repository in end_of_script(hub, script, options | {"hub_model_id": repository})
        assert not options["output_dir"].exists()

    @pytest.mark.skipif(bool(REAL_TOKEN), reason="takes a second token, which may only read")
    def test_keep_what_a_token_to_read_cannot_push(self, script, hub, repository, options):
        hub.run(push, network(1), repository)
        reason = end_of_script(hub, script, options | {"hub_model_id": repository, "hub_token": READ_TOKEN})
        assert reason.startswith(f"The model is in {options['output_dir']}, but not on the Hub: 403")
        assert logits(options["output_dir"]).shape == (2, 2)
        assert_close(hub.run(logits, repository), expected_logits(1))

    def test_end_with_one_line_if_the_model_is_missing(self, script, hub, repository, options):
        reason = end_of_script(hub, script, options | {"model_name_or_path": repository})
        assert repository in reason
        assert not options["output_dir"].exists()
