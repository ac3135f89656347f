# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Model cards of trained Wave Networks, and a table that compares the cards of a folder.

    python -m wave_hf.model_card --folder model_cards

The table becomes the README.md of the folder. The numbers of a card have these sources:

- `parameters`, `parameters_outside_token_table`: counted on the model, see `count_parameters`.
- `size_mb`: `model.get_memory_footprint()`.
- `latency_ms`: measured when the card is written, see `measure_latency`.
- Results: the last evaluation of the run, see `ModelCardTrainer.last_evaluation`. So evaluate last on the rows that
  the card should report.
- Training settings: the arguments of the `Trainer`, see `ModelCardTrainer.training_settings`.
"""

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import HfArgumentParser, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.modelcard import TrainingSummary

from .configuration_wave import WaveConfig
from .files import writing
from .markdown import code_block, escape, link, markdown_table
from .modeling_wave import WaveForSequenceClassification
from .remote_code import is_instance
from .tokenization import longest_text
from .training.errors import exit_on_error

TEMPLATE = Path(__file__).with_name("model_card_template.md")
LATENCY_TOKENS = 32
# What Trainer logs beside the metrics of an evaluation.
NOT_METRICS = {"epoch", "loss", "model_preparation_time", "runtime", "samples_per_second", "step", "steps_per_second"}
COMPARISON = f"""# Model cards

Each card is the README.md that its command wrote beside the weights. Results are those of one seed; milliseconds are
those of one text of {LATENCY_TOKENS} tokens on one core. This command wrote the table:

```bash
python -m wave_hf.model_card --folder model_cards
```

"""
COLUMNS = ("model", "data", "result", "parameters", "outside the token table", "weights", "one text")


@dataclass
class Evaluation:
    """The results of an evaluation.

    Args:
        dataset_name: Name of the dataset in the text of the card.
        num_texts: Number of evaluated texts.
        metrics: The values by their names in the evaluate library.
        dataset_type: Id of the dataset on the Hub, or the kind of file.
        dataset_config: Configuration of the dataset on the Hub.
    """

    dataset_name: str
    num_texts: int
    metrics: Mapping[str, float]
    dataset_type: str = "file"
    dataset_config: str | None = None

    def results(self) -> list[EvalResult]:
        """Return the metrics as metadata of the Hub."""
        return [
            EvalResult(
                task_type="text-classification",
                task_name="Text Classification",
                dataset_type=self.dataset_type,
                dataset_name=self.dataset_name,
                dataset_config=self.dataset_config,
                metric_type=name,
                metric_value=value,
            )
            for name, value in self.metrics.items()
        ]


def create_model_card(
    model: PreTrainedModel,
    model_name: str,
    evaluation: Evaluation | None = None,
    training: Mapping[str, Any] | None = None,
    command: str | None = None,
    max_tokens: int | None = None,
    **metadata: Any,
) -> ModelCard:
    """Create the card of a trained classifier, and measure the latency of the classifier for it.

    Args:
        model: The classifier.
        model_name: Its name, or its id on the Hub.
        evaluation: Its results. `None` means that it was not evaluated.
        training: Settings of its training by their names.
        command: The command line that trained it, without secrets.
        max_tokens: The largest number of tokens of a text, see `longest_text`. `None` means that nothing limits it.
        **metadata: More metadata of the Hub, such as `license`, `language`, `datasets` or `base_model`.

    Returns:
        The card, with the methods `save` and `push_to_hub`.
    """
    num_tokens = min(LATENCY_TOKENS, getattr(model.config, "max_position_embeddings", None) or LATENCY_TOKENS)
    data = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["wave-network"],
        **count_parameters(model),
        "size_mb": round(model.get_memory_footprint() / 1e6, 1),
        "latency_ms": round(measure_latency(model, num_tokens), 2),
    }
    if evaluation:
        data["metrics"] = list(evaluation.metrics)
        data |= {"model_name": model_name, "eval_results": evaluation.results()}
    return ModelCard.from_template(
        ModelCardData(**(data | metadata)),
        template_path=str(TEMPLATE),
        escape=escape,
        model_name=model_name,
        quoted_name=json.dumps(model_name),
        num_tokens=num_tokens,
        machine=platform.machine(),
        evaluation=evaluation,
        training=training or {},
        command=command and code_block("bash", command),
        max_tokens=max_tokens,
        **describe(model.config),  # type: ignore[arg-type]
    )


def count_parameters(model: PreTrainedModel) -> dict[str, int]:
    """Return the number of parameters, in all and outside the token table."""
    parameters = model.num_parameters()
    in_table = sum(parameter.numel() for parameter in model.get_input_embeddings().parameters())
    return {"parameters": parameters, "parameters_outside_token_table": parameters - in_table}


def describe(config: WaveConfig) -> dict[str, Any]:
    """Return the words of the card for the task and the shape of a network."""
    is_of_pairs = config.type_vocab_size > 0 or config.pair_encoding == "separate"
    answers = {"regression": "a number", "multi_label_classification": "a score for each label"}
    operations = {config.layer_operation(layer_idx) for layer_idx in range(config.num_hidden_layers)}
    return {
        "labels": [] if config.problem_type == "regression" else list((config.id2label or {}).values()),
        "answer": answers.get(str(config.problem_type), "one of the labels"),
        "texts": "pairs of texts" if is_of_pairs else "texts",
        "example": '{"text": "a text", "text_pair": "another"}' if is_of_pairs else '"a text"',
        "operations": " and ".join(sorted(operations)),
        "window_size": 1 + sum(size - 1 for size in (config.local_kernel_size, config.variant_kernel_size) if size),
        "has_positions": config.max_position_embeddings is not None,
    }


def measure_latency(model: PreTrainedModel, num_tokens: int) -> float:
    """Return the milliseconds of a forward pass for one text of `num_tokens` tokens, on one core of this machine."""
    # A new network of the same shape on the CPU, because the weights may lie on GPUs, and do not affect the time.
    network = type(model)(model.config).eval()
    input_ids = torch.ones((1, num_tokens), dtype=torch.long)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            # The fastest of many passes is the one least disturbed by other processes.
            return 1000 * min(seconds_of(network, input_ids) for _ in range(50))
    finally:
        torch.set_num_threads(num_threads)


def seconds_of(network: PreTrainedModel, input_ids: torch.Tensor) -> float:
    """Return the duration of one forward pass in seconds."""
    start = time.perf_counter()
    network(input_ids=input_ids)
    return time.perf_counter() - start


class ModelCardTrainer(Trainer):
    """Trainer that writes the card of a Wave classifier, also on the Hub; other models get Trainer's default card."""

    def create_model_card(self, command: str | None = None, **kwargs: Any) -> None:  # type: ignore[override]
        """Write README.md to the output folder.

        Args:
            command: The command line of the run, without secrets.
            **kwargs: Arguments of `Trainer.create_model_card`.
        """
        if not is_instance(self.model, WaveForSequenceClassification):
            super().create_model_card(**kwargs)
        elif self.is_world_process_zero():
            summary = TrainingSummary.from_trainer(self, **kwargs)
            model: Any = self.model
            tokenizer: Any = self.processing_class
            is_tokenizer = isinstance(tokenizer, PreTrainedTokenizerBase)
            max_tokens = longest_text(tokenizer, model.config) if is_tokenizer else None
            card = create_model_card(
                model,
                self.hub_model_id or summary.model_name,
                self.last_evaluation(summary),
                self.training_settings(summary),
                command,
                max_tokens,
                **_metadata(summary),
            )
            with writing(Path(str(self.args.output_dir)) / "README.md") as stream:
                stream.write(card.content)

    def training_settings(self, summary: TrainingSummary) -> dict[str, Any]:
        """Return the hyperparameters of the summary, and the settings that it lacks but the weights depend on."""
        return {
            "data": " and ".join(_names(summary.dataset)) or "unnamed",
            "training_texts": len(self.train_dataset) if self.train_dataset is not None else 0,  # type: ignore[arg-type]
            **(summary.hyperparameters or {}),
            "weight_decay": self.args.weight_decay,
            "bf16": self.args.bf16,
        }

    def last_evaluation(self, summary: TrainingSummary) -> Evaluation | None:
        """Return the metrics of the last evaluation in the log of this run, or `None` if there was none."""
        evaluations = [entry for entry in self.state.log_history if "eval_loss" in entry]
        if not evaluations:
            return None
        last = {name.removeprefix("eval_"): value for name, value in evaluations[-1].items()}
        names, types, configs = (_names(of) for of in (summary.dataset, summary.dataset_tags, summary.dataset_args))
        return Evaluation(
            dataset_name=" and ".join(names) or "unnamed data",
            num_texts=len(self.eval_dataset),  # type: ignore[arg-type]
            metrics={name: round(value, 4) for name, value in last.items() if name not in NOT_METRICS},
            dataset_type=types[0] if types else "file",
            dataset_config=configs[0] if configs else None,
        )


def _names(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else [name for name in names or [] if name]


def _metadata(summary: TrainingSummary) -> dict[str, Any]:
    """Return the metadata of the Hub, without a base model that is a local folder."""
    base_model = summary.finetuned_from or None
    return {
        "license": summary.license,
        "language": _names(summary.language) or None,
        "datasets": _names(summary.dataset_tags) or None,
        "base_model": None if base_model is None or os.path.isdir(base_model) else base_model,
        "tags": ["wave-network", *_names(summary.tags)],
    }


def find_cards(folder: Path) -> list[Path]:
    """Return the cards of a folder, sorted by name: its Markdown files that start with metadata."""
    return sorted(file for file in folder.glob("*.md") if file.read_text(encoding="utf-8").startswith("---\n"))


def compare_cards(folder: Path) -> str:
    """Return the page that compares the cards of a folder, in Markdown.

    Args:
        folder: A folder of evaluated cards, `NAME.md`.

    Raises:
        ValueError: It holds no cards, or the card of a model that was not evaluated.
    """
    files = find_cards(folder)
    if not files:
        raise ValueError(f"folder is {str(folder)!r}, but should hold model cards, as NAME.md.")
    return COMPARISON + markdown_table(COLUMNS, [_table_row(file) for file in files]) + "\n"


def _table_row(file: Path) -> list[str]:
    data = ModelCard.load(file).data
    if not data.eval_results:
        raise ValueError(f"{file} has no results, but should be the card of an evaluated model.")
    result = data.eval_results[0]
    return [
        link(file.stem, file.name),
        result.dataset_name,
        f"{result.metric_type} {result.metric_value}",
        f"{data['parameters'] / 1e6:.2f} M",
        f"{data['parameters_outside_token_table'] / 1e6:.2f} M",
        f"{data['size_mb']} MB",
        f"{data['latency_ms']} ms",
    ]


@dataclass
class CompareArguments:
    """Options of the comparison."""

    folder: str = field(metadata={"help": "Folder of cards. The table is written to its README.md."})


def main() -> None:
    """Parse the command line and write the table."""
    parser = HfArgumentParser(CompareArguments, prog="python -m wave_hf.model_card")  # type: ignore[arg-type]
    (args,) = parser.parse_args_into_dataclasses()
    folder = Path(args.folder)
    with exit_on_error("Model cards"):
        page = compare_cards(folder)
        with writing(folder / "README.md") as stream:
            stream.write(page)


if __name__ == "__main__":
    main()
