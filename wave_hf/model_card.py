# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Model cards that say what a trained Wave Network is, from what can be counted and measured.

    python -m wave_hf.model_card --folder model_cards

writes the table that compares the cards of a folder, its README.md.
"""

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import HfArgumentParser, PreTrainedModel, Trainer
from transformers.modelcard import TrainingSummary

from .configuration_wave import WaveConfig
from .files import writing
from .modeling_wave import WaveForSequenceClassification

TEMPLATE = Path(__file__).with_name("model_card_template.md")
LATENCY_TOKENS = 32
TABLE_HEAD = f"""# Model cards

Each card is the README.md that the command it names wrote beside the weights. A result is that of one seed; the
milliseconds are those of one text of {LATENCY_TOKENS} tokens on one core. The table was made by

```bash
python -m wave_hf.model_card --folder model_cards
```

| model | data | result | parameters | outside the token table | weights | one text |
| --- | --- | --- | --- | --- | --- | --- |
"""


@dataclass
class Evaluation:
    """What a model was measured to do.

    Args:
        dataset_name: What people call the data.
        num_texts: How many texts were evaluated.
        metrics: Values, by the names that the evaluate library has for them.
        dataset_type: Id of the data on the Hub, or the kind of file they are.
        dataset_config: Configuration of that dataset.
    """

    dataset_name: str
    num_texts: int
    metrics: Mapping[str, float]
    dataset_type: str = "file"
    dataset_config: str | None = None

    def results(self) -> list[EvalResult]:
        """Return the metrics in the form of the Hub."""
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
    **metadata: Any,
) -> ModelCard:
    """Describe a trained classifier; its latency is measured here and now.

    Args:
        model: The model.
        model_name: Its name, or its id on the Hub.
        evaluation: How it did. None: the card says that it was not evaluated.
        training: Settings of its training, by name.
        command: The command line that trained it, without secrets.
        **metadata: More of the Hub's metadata, as `license`, `language`, `datasets` or `base_model`.

    Returns:
        The card. `save` writes it, `push_to_hub` puts it beside the model.
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
        model_name=model_name,
        num_tokens=num_tokens,
        machine=platform.machine(),
        evaluation=evaluation,
        training=training or {},
        command=command,
        **describe(model.config),  # type: ignore[arg-type]
    )


def count_parameters(model: PreTrainedModel) -> dict[str, int]:
    """Return the number of all parameters, and of those outside the token table."""
    parameters = model.num_parameters()
    in_table = sum(parameter.numel() for parameter in model.get_input_embeddings().parameters())
    return {"parameters": parameters, "parameters_outside_token_table": parameters - in_table}


def describe(config: WaveConfig) -> dict[str, Any]:
    """Return what the card says of the network's task and of its shape, in words."""
    is_of_pairs = config.type_vocab_size > 0 or config.pair_encoding == "separate"
    answers = {"regression": "a number", "multi_label_classification": "a score for each label"}
    operations = {config.layer_operation(layer_idx) for layer_idx in range(config.num_hidden_layers)}
    return {
        "labels": [] if config.problem_type == "regression" else list((config.id2label or {}).values()),
        "answer": answers.get(str(config.problem_type), "one of the labels"),
        "texts": "pairs of texts" if is_of_pairs else "texts",
        "example": '{"text": "a text", "text_pair": "another"}' if is_of_pairs else '"a text"',
        "operations": " and ".join(sorted(operations)),
        "kernel_size": config.local_kernel_size,
        "has_positions": config.max_position_embeddings is not None,
    }


def measure_latency(model: PreTrainedModel, num_tokens: int) -> float:
    """Return the milliseconds that a text of so many tokens takes on one core of this machine."""
    # A network of that shape on the CPU: the weights themselves, which may lie on several GPUs, change no time.
    network = type(model)(model.config).eval()
    input_ids = torch.ones((1, num_tokens), dtype=torch.long)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            # The quickest of many passes is the one that other processes disturbed least.
            return 1000 * min(seconds_of(network, input_ids) for _ in range(50))
    finally:
        torch.set_num_threads(num_threads)


def seconds_of(network: PreTrainedModel, input_ids: torch.Tensor) -> float:
    """Return the seconds of one forward pass."""
    start = time.perf_counter()
    network(input_ids=input_ids)
    return time.perf_counter() - start


class ModelCardTrainer(Trainer):
    """Trainer that writes this card, also when it pushes to the Hub; Trainer's own for what is no Wave classifier."""

    def create_model_card(self, command: str | None = None, **kwargs: Any) -> None:  # type: ignore[override]
        """Write README.md into the output folder.

        Args:
            command: The command line of the run, without secrets.
            **kwargs: What `Trainer.create_model_card` takes.
        """
        if not isinstance(self.model, WaveForSequenceClassification):
            super().create_model_card(**kwargs)
        elif self.is_world_process_zero():
            summary = TrainingSummary.from_trainer(self, **kwargs)
            card = create_model_card(
                self.model,
                self.hub_model_id or summary.model_name,
                self._evaluation(summary),
                self._training(summary),
                command,
                **_metadata(summary),
            )
            with writing(Path(str(self.args.output_dir)) / "README.md") as stream:
                stream.write(card.content)

    def _training(self, summary: TrainingSummary) -> dict[str, Any]:
        # What the summary leaves out, but the weights depend on.
        return {
            "data": " and ".join(_names(summary.dataset)) or "unnamed",
            "training_texts": len(self.train_dataset) if self.train_dataset is not None else 0,  # type: ignore[arg-type]
            **(summary.hyperparameters or {}),
            "weight_decay": self.args.weight_decay,
            "bf16": self.args.bf16,
        }

    def _evaluation(self, summary: TrainingSummary) -> Evaluation | None:
        if summary.eval_results is None:
            return None
        metrics = {name.lower().replace(" ", "_"): value for name, value in summary.eval_results.items()}
        names, types, configs = (_names(of) for of in (summary.dataset, summary.dataset_tags, summary.dataset_args))
        return Evaluation(
            dataset_name=" and ".join(names) or "unnamed data",
            num_texts=len(self.eval_dataset),  # type: ignore[arg-type]
            metrics={name: round(value, 4) for name, value in metrics.items() if name != "loss"},
            dataset_type=types[0] if types else "file",
            dataset_config=configs[0] if configs else None,
        )


def _names(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else [name for name in names or [] if name]


def _metadata(summary: TrainingSummary) -> dict[str, Any]:
    """Return what the Hub shows beside the card; a folder of this machine is no base model to others."""
    base_model = summary.finetuned_from or None
    return {
        "license": summary.license,
        "language": _names(summary.language) or None,
        "datasets": _names(summary.dataset_tags) or None,
        "base_model": None if base_model is None or os.path.isdir(base_model) else base_model,
        "tags": ["wave-network", *_names(summary.tags)],
    }


def compare_cards(folder: Path) -> str:
    """Return the table of a folder of cards, as Markdown.

    Args:
        folder: Where the cards lie, as `NAME.md`.

    Raises:
        ValueError: There are none.
    """
    files = sorted(file for file in folder.glob("*.md") if file.name != "README.md")
    if not files:
        raise ValueError(f"folder is {str(folder)!r}, but should hold model cards, as NAME.md.")
    return TABLE_HEAD + "".join(_table_row(file) for file in files)


def _table_row(file: Path) -> str:
    data = ModelCard.load(file).data
    (result, *_) = data.eval_results
    sizes = f"{data['parameters'] / 1e6:.2f} M | {data['parameters_outside_token_table'] / 1e6:.2f} M"
    return (
        f"| [{file.stem}]({file.name}) | {result.dataset_name} | {result.metric_type} {result.metric_value} | {sizes} "
        f"| {data['size_mb']} MB | {data['latency_ms']} ms |\n"
    )


@dataclass
class CompareArguments:
    """The cards to compare."""

    folder: str = field(metadata={"help": "Folder of cards; the table becomes its README.md."})


def main() -> None:
    """Write the table of the folder that the command line names."""
    (args,) = HfArgumentParser(CompareArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    folder = Path(args.folder)
    try:
        table = compare_cards(folder)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    with writing(folder / "README.md") as stream:
        stream.write(table)


if __name__ == "__main__":
    main()
