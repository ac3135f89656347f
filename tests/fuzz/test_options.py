"""Any options of a script: a run that does all that was asked for, or one line before anything is written."""

import json
import random
from dataclasses import fields

import pytest
import run_classification
import run_glue
import run_glue_no_trainer
import run_mlm
from transformers import TrainingArguments

from wave_hf.training.arguments import ModelArguments
from wave_hf.training.glue import GlueArguments
from wave_hf.training.loop import LoopArguments
from wave_hf.training.masked_lm import MlmArguments

from .cases import result_or_line, sample, seeds

pytestmark = pytest.mark.slow

main = run_classification.main  # what the fixture `run` calls

NUMBERS = [-1, 0, 1, 2, 5, 0.5, "nan", "inf", "many", "", "1e3"]
WORDS = ["", " ", "nothing", "no", "auto", "text", "label", "train", "a,b", "../x", "$x", "{}", "[]", "1"]
SWITCHES = ["True", "False", "maybe"]
NUMBER_OPTIONS = [
    *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("warmup_steps", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "save_steps"),
    *("label_smoothing_factor", "neftune_noise_alpha", "torch_empty_cache_steps", "logging_steps", "eval_steps"),
    *("eval_delay", "eval_accumulation_steps", "save_total_limit", "seed", "data_seed", "shuffle_seed"),
    *("dataloader_prefetch_factor", "max_seq_length", "max_train_samples", "max_eval_samples", "max_predict_samples"),
    *("validation_split_percentage", "max_steps", "num_train_epochs"),
]
SWITCH_OPTIONS = [
    *("bf16", "fp16", "bf16_full_eval", "fp16_full_eval", "tf32", "gradient_checkpointing", "use_cache"),
    *("auto_find_batch_size", "logging_first_step", "logging_nan_inf_filter", "prediction_loss_only"),
    *("eval_on_start", "eval_do_concat_batches", "eval_use_gather_object", "batch_eval_metrics", "save_only_model"),
    *("load_best_model_at_end", "greater_is_better", "ignore_data_skip", "restore_callback_states_from_checkpoint"),
    *("dataloader_drop_last", "dataloader_pin_memory", "dataloader_persistent_workers", "remove_unused_columns"),
    *("do_regression", "do_multi_label", "shuffle_train_dataset", "output_probabilities", "pad_to_max_length"),
    *("overwrite_cache", "ignore_mismatched_sizes", "average_tokens_across_devices"),
]
WORD_OPTIONS = [
    *("lr_scheduler_type", "lr_scheduler_kwargs", "optim", "optim_args", "optim_target_modules", "log_level"),
    *("logging_strategy", "eval_strategy", "save_strategy", "metric_for_best_model", "include_for_metrics"),
    *("include_num_input_tokens_seen", "accelerator_config", "label_names", "train_sampling_strategy"),
    *("length_column_name", "debug", "text_column_names", "label_column_name", "text_column_delimiter"),
    *("train_split_name", "validation_split_name", "test_split_name", "remove_splits", "remove_columns"),
    *("metric_name", "config_overrides", "tokenizer_name", "resume_from_checkpoint", "dataset_config_name"),
    *("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs", "run_name"),
]
# Values that are right for some options of words.
RIGHT = ["steps", "epoch", "best", "cosine", "constant", "adamw_torch", "sgd", "random", "group_by_length", "loss"]
RIGHT += ["accuracy", "readout=real", "num_hidden_layers=2", "hidden_size=0", "pooling=max", "vocab_size=9", "error"]


KINDS = dict.fromkeys(NUMBER_OPTIONS, NUMBERS) | dict.fromkeys(SWITCH_OPTIONS, SWITCHES)
KINDS |= dict.fromkeys(WORD_OPTIONS, WORDS + 3 * RIGHT)


def draw_options(rng, kinds):
    """Return one to three options with values of their kind, and now and then of another."""
    options = {}
    for name in sample(rng, kinds, 3):
        values = kinds[name] if rng.random() < 0.95 else NUMBERS + WORDS
        options[f"--{name}"] = rng.choice(values)
    return options


OTHER_SCRIPTS = {
    run_glue: (GlueArguments, TrainingArguments),
    run_glue_no_trainer: (GlueArguments, LoopArguments),
    run_mlm: (MlmArguments, TrainingArguments),
}
LOOP_OPTIONS = {
    "max_train_steps": NUMBERS,
    "mixed_precision": [*WORDS, "bf16", "fp8"],
    "checkpointing_steps": [*NUMBERS, "epoch"],
    "with_tracking": SWITCHES,
    "report_to": WORDS,
    "mlm_probability": NUMBERS,
    "line_by_line": SWITCHES,
    "streaming": SWITCHES,
    "task_name": [*WORDS, "rte", "stsb"],
}


@pytest.fixture
def files(write, rows):
    """Return the options that name three files of a few rows."""
    files = {"train": rows[::3], "validation": rows[1::6], "test": rows[2::12]}
    return [part for name, part in files.items() for part in (f"--{name}_file", write(f"{name}.csv", part))]


@seeds(20)
@pytest.mark.filterwarnings("ignore")
def test_run(seed, run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = draw_options(random.Random(seed), KINDS)
    arguments = [part for option in options.items() for part in option]
    steps = [] if {"--max_steps", "--num_train_epochs"} & options.keys() else ["--max_steps", 2]
    asked = ["--do_train", "--do_eval", "--do_predict"]
    folder, line = result_or_line(run, *files, *asked, *steps, *arguments)
    if line is not None:
        is_before_training = not list(tmp_path.glob("out/*.safetensors"))
        assert is_before_training or "not finite" in line, (options, line)
        return
    results = json.loads((folder / "all_results.json").read_text())
    assert "eval_loss" in results, options
    assert results["train_samples"] == min(24, int(options.get("--max_train_samples", 24))), options
    assert results["eval_samples"] == min(12, int(options.get("--max_eval_samples", 12))), options
    lines = (folder / "predict_results.txt").read_text().splitlines()
    assert len(lines) == 1 + min(6, int(options.get("--max_predict_samples", 6))), options
    assert (folder / "model.safetensors").exists()
    assert not list(tmp_path.glob("out/*.unfinished"))


@seeds(20)
@pytest.mark.filterwarnings("ignore")
def test_other_scripts(seed, command_line, small_config, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(seed)
    script, groups = rng.choice(list(OTHER_SCRIPTS.items()))
    known = {field.name for group in (ModelArguments, *groups) for field in fields(group)}
    kinds = {name: values for name, values in (KINDS | LOOP_OPTIONS).items() if name in known}
    options = draw_options(rng, kinds)
    steps = "--max_train_steps" if script is run_glue_no_trainer else "--max_steps"
    asked = [] if script is run_glue_no_trainer else ["--do_train", "--do_eval", "--use_cpu"]
    if not {steps, "--num_train_epochs"} & options.keys():
        asked += [steps, 2]
    start = ("--config_name", small_config, "--output_dir", "out")
    command_line(*start, *files, *asked, *(part for option in options.items() for part in option))
    _, line = result_or_line(script.main)
    is_trained = bool(list(tmp_path.glob("out/*.safetensors")))
    if line is None:
        results = json.loads((tmp_path / "out" / "all_results.json").read_text())
        assert is_trained, options
        assert any(name.startswith("eval_") and name != "eval_samples" for name in results), options
    else:
        assert not is_trained or "not finite" in line, (script.__name__, options, line)
