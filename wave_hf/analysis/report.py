"""A report on a Wave Network: its waves and decision on a text, and how such networks train compared with a BERT."""

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import DatasetDict
from matplotlib.figure import Figure
from transformers import AutoConfig, BertConfig, FNetConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import tqdm

from .. import __version__
from ..configuration_wave import WaveConfig
from ..documentation_corpus import load_documentation_corpus
from ..files import load_classifier, new_folder
from ..markdown import escape, markdown_table
from ..modeling_wave import WaveForSequenceClassification
from ..recipes import find_recipe
from ..training.readers import read_file
from ..waves import magnitude
from . import figures
from .attribution import integrated_gradients, token_shares, why_not_additive
from .complexity import Cost, cost
from .convergence import Run, Training, initial_model, train
from .gradients import GradientRecorder
from .independence import Independence, measure_independence
from .waves import interference_pattern, phase, waves

MAX_VALIDATION_ROWS = 500  # each network is evaluated twenty times
MAX_VECTORS = 2000
ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.9)
LENGTHS = [2**power for power in range(5, 14)]


@dataclass
class AnalysisArguments:
    """Options of the report and of the networks that it trains."""

    out: str = field(metadata={"help": "Output folder, new or empty."})
    data: str | None = field(
        default=None,
        metadata={"help": "Rows with the columns text and label, csv or json. None: the documentation corpus."},
    )
    text: str | None = field(default=None, metadata={"help": "Text to analyze. None: the first validation row."})
    bert_config: str | None = field(
        default=None, metadata={"help": "Recipe, folder or Hub id of a BERT's config. None: four layers, 256 wide."}
    )
    steps: int = field(default=300, metadata={"help": "Training steps of each network."})
    batch_size: int = field(default=32, metadata={"help": "Texts in a batch."})
    max_length: int = field(default=128, metadata={"help": "Truncate training texts to this many tokens."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak learning rate of the Wave Networks."})
    bert_learning_rate: float = field(default=3e-4, metadata={"help": "Peak learning rate of BERT."})
    seed: int = field(
        default=42, metadata={"help": "Seed of the split, of the order of rows and of the initial weights."}
    )


@dataclass
class Report:
    """A report in the making: its text, figures and numbers.

    Args:
        folder: The folder that it is written to.
        paragraphs: The paragraphs of report.md.
        results: The content of results.json.
        num_figures: Number of figures so far.
    """

    folder: Path
    paragraphs: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    num_figures: int = 0

    def write(self, *paragraphs: str) -> None:
        """Append paragraphs."""
        self.paragraphs += paragraphs

    def draw(self, name: str, figure: Figure, caption: str) -> None:
        """Save a figure as NAME.png, and append it with a caption."""
        self.num_figures += 1
        figure.savefig(self.folder / f"{name}.png", dpi=120)
        self.write(f"![{name}]({name}.png)", f"**Figure {self.num_figures}.** {caption}")

    def save(self) -> None:
        """Write report.md and results.json."""
        (self.folder / "report.md").write_text("\n\n".join(self.paragraphs) + "\n", encoding="utf-8")
        (self.folder / "results.json").write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")


def write_report(model_dir: str, args: AnalysisArguments) -> None:
    """Write a report on a trained Wave Network to a new folder, atomically.

    The waves and the decision on one text are those of the model. To examine what the papers say about training, a
    network of its shape with interference, one with modulation, and a BERT are trained from scratch on the same
    batches.

    Args:
        model_dir: Folder or Hub id of a `WaveForSequenceClassification` and its tokenizer.
        args: The options.

    Raises:
        FileExistsError: `args.out` is not empty.
        OSError: A file is missing.
        ValueError: `model_dir` holds another kind of model, the config is not that of a BERT, a column is missing, or
            the text has fewer than two tokens.
    """
    with new_folder(args.out) as folder:
        model, tokenizer = load_classifier(model_dir)
        bert_config = load_bert_config(args.bert_config)
        rows = load_splits(args.data, args.seed)
        text = rows["validation"][0]["text"] if args.text is None else args.text
        report = Report(folder)
        introduce(report, model_dir, args, rows, text)
        report_waves(report, model, tokenizer, text)

        networks = shapes(model.config, bert_config, rows)
        limits = [getattr(config, "max_position_embeddings", None) or args.max_length for config in networks.values()]
        training = Training(tokenizer, rows, args.steps, args.batch_size, min(args.max_length, *limits), args.seed)
        recorders = {name: GradientRecorder() for name in networks}
        runs = {}
        for name, config in tqdm(networks.items(), desc="Training networks from scratch"):
            learning_rate = args.bert_learning_rate if name == "BERT" else args.learning_rate
            runs[name] = train(config, training, learning_rate, [recorders[name]])
        how = describe_training(args, training)

        report_decision(report, {"the model": model, "BERT": runs["BERT"].model}, tokenizer, text)
        report_convergence(report, runs, how)
        report_gradients(report, {name: recorder.history for name, recorder in recorders.items()}, how)
        trained = {"the model": model, **{name: run.model for name, run in runs.items()}}
        report_independence(report, trained, training, how)
        report_complexity(report, {"the model": model.config, "BERT": networks["BERT"]}, args.batch_size)
        report.save()


# Texts and networks


def load_splits(file: str | None, seed: int) -> DatasetDict:
    """Return the splits `train` and `validation`: of a file, with a tenth held out, or of the documentation corpus."""
    if file is None:
        splits = load_documentation_corpus(seed)
    else:
        rows = read_file(file, ["text"], "label").class_encode_column("label")
        held_out = rows.train_test_split(test_size=max(1, len(rows) // 10), seed=seed)
        splits = DatasetDict(train=held_out["train"], validation=held_out["test"])
    number = min(MAX_VALIDATION_ROWS, len(splits["validation"]))
    return DatasetDict(train=splits["train"], validation=splits["validation"].select(range(number)))


def load_bert_config(name: str | None) -> BertConfig:
    """Return the config of a recipe, folder or Hub id, or of a small BERT."""
    if name is None:
        return BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
    config = AutoConfig.from_pretrained(find_recipe(name) or name, trust_remote_code=False)
    if not isinstance(config, BertConfig):
        raise ValueError(f"bert_config is {name!r}, whose model_type is {config.model_type!r}, but should be 'bert'.")
    return config


def shapes(wave: WaveConfig, bert: BertConfig, rows: DatasetDict) -> dict[str, PreTrainedConfig]:
    """Return the configs of the compared networks, for the labels of the rows and the vocabulary of the model."""
    networks: dict[str, Any] = {"interference": deepcopy(wave), "modulation": deepcopy(wave), "BERT": deepcopy(bert)}
    for name, config in networks.items():
        config.id2label = dict(enumerate(rows["train"].features["label"].names))
        config.label2id = {label: label_id for label_id, label in config.id2label.items()}
        config.problem_type = "single_label_classification"
        if name == "BERT":
            config.vocab_size, config.pad_token_id = wave.vocab_size, wave.pad_token_id
        else:
            config.wave_operation = name
    return networks


def describe_training(args: AnalysisArguments, training: Training) -> str:
    """Return how the networks were trained, as the end of a caption."""
    rows = training.rows
    return (
        f"trained from scratch on the same {training.steps} batches of {training.batch_size} texts, truncated to "
        f"{training.max_length} tokens, with AdamW at a learning rate of {args.learning_rate:g} (BERT: "
        f"{args.bert_learning_rate:g}), seed {training.seed}, {len(rows['train']):,} training and "
        f"{len(rows['validation']):,} validation rows."
    )


# Sections of the report


def introduce(report: Report, model_dir: str, args: AnalysisArguments, rows: DatasetDict, text: str) -> None:
    """Write the heading: model, data, machine and text."""
    machine = {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "wave_hf": __version__,
    }
    report.results |= {"model": model_dir, "arguments": asdict(args), "text": text, "machine": machine}
    data = args.data or rows["train"].info.description
    report.write(
        "# Analysis of a Wave Network",
        f"**Model:** {escape(model_dir)}. **Data:** {escape(data)}",
        "**Machine:** " + ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
        "All numbers are in [results.json](results.json). The analyzed text:",
        f"> {escape(text)}",
    )


def report_waves(
    report: Report, model: WaveForSequenceClassification, tokenizer: PreTrainedTokenizerBase, text: str
) -> None:
    """Show the waves of the text."""
    of_text = waves(model, tokenizer, text)
    report.results["waves"] = {
        "tokens": of_text.tokens,
        "layers": [
            {
                "mean_phase": {name: phase(wave).mean(dim=-1).tolist() for name, wave in layer._asdict().items()},
                "mean_magnitude": {
                    name: magnitude(wave).mean(dim=-1).tolist() for name, wave in layer._asdict().items()
                },
                "constructive": float((interference_pattern(layer) > 0).double().mean()),
            }
            for layer in of_text.layers
        ],
    }
    shown = f"The text above, {len(of_text.tokens)} tokens"
    if len(of_text.tokens) > figures.MAX_TOKENS:
        shown += f", of which the first {figures.MAX_TOKENS} are shown"
    report.write("## Waves")
    report.draw(
        "phases",
        figures.plot_phases(of_text),
        f"{shown}. Each point is the wave of a token (first variant, first layer) divided by the global magnitude G. "
        "In one dimension (left) it lies on the half circle; its mean over all dimensions (right, magnified) lies "
        "inside of it.",
    )
    report.draw(
        "magnitudes",
        figures.plot_magnitudes(of_text),
        f"{shown}. The magnitudes, sorted over the dimensions. Those of the variants are shared by all tokens; that "
        "of the combined wave is averaged over them.",
    )
    report.draw(
        "interference",
        figures.plot_interference(of_text),
        f"{shown}. Where the two variants of a token interfere constructively when they are added, and where "
        "destructively (first layer). A modulation adds their phases instead.",
    )


def report_decision(
    report: Report, models: Mapping[str, PreTrainedModel], tokenizer: PreTrainedTokenizerBase, text: str
) -> None:
    """Show the contribution of each token to the most probable label of each model."""
    drawn, results, gaps = {}, [], []
    for name, model in models.items():
        names: Any = model.config.id2label
        if why_not_additive(model) is None:
            shares = token_shares(model, tokenizer, text)  # type: ignore[arg-type]
            label = int(shares.logits.argmax())
            values = shares.shares[:, label]
            drawn[f"{name}: shares in “{names[label]}”"] = shares.tokens, values
            results.append(
                {
                    "network": name,
                    "method": "token shares",
                    "label": names[label],
                    "tokens": shares.tokens,
                    "values": values.tolist(),
                    "bias": float(shares.bias[label]),
                    "logit": float(shares.logits[label]),
                }
            )
        found = integrated_gradients(model, tokenizer, text)
        drawn[f"{name}: gradients of “{names[found.label]}”"] = found.tokens, found.attributions
        results.append(
            {
                "network": name,
                "method": "integrated gradients",
                "label": names[found.label],
                "tokens": found.tokens,
                "values": found.attributions.tolist(),
                "baseline": found.baseline,
                "logit": found.logit,
                "completeness_gap": found.gap,
            }
        )
        gaps.append(f"{found.gap:.2%} ({name})")
    report.results["decision"] = results
    report.write("## Decision")
    report.draw(
        "decision",
        figures.plot_decisions(drawn),
        "The contribution of each token of the text to the logit of the most probable label. Shares are the parts "
        "of each position in the mean that the classifier reads; with its bias they add up to the logit. As every "
        "position depends on the whole text through G, a share is not the effect of a word. Integrated gradients go "
        "from the mean embedding to the embedding of each token; the gap to the difference of the logits is "
        f"{' and '.join(gaps)}. BERT is the one trained below.",
    )


def report_convergence(report: Report, runs: Mapping[str, Run], how: str) -> None:
    """Show the learning curves."""
    report.results["convergence"] = {
        name: {
            "parameters": run.model.num_parameters(),
            "loss": run.loss,
            "accuracy": run.accuracy,
            "steps_to_accuracy": {f"{accuracy:.0%}": run.steps_to(accuracy) for accuracy in ACCURACIES},
        }
        for name, run in runs.items()
    }
    report.write("## Convergence")
    report.draw(
        "convergence",
        figures.plot_convergence(runs),
        f"Training loss and validation accuracy. All networks were {how}",
    )
    header = ["network", "parameters", *(f"{accuracy:.0%}" for accuracy in ACCURACIES), "at the end"]
    rows = [
        [
            name,
            f"{run.model.num_parameters() / 1e6:.2f} M",
            *(run.steps_to(accuracy) or "never" for accuracy in ACCURACIES),
            f"{run.accuracy[-1][1]:.1%}",
        ]
        for name, run in runs.items()
    ]
    report.write("Steps until an accuracy is first reached:", markdown_table(header, rows))


def report_gradients(report: Report, histories: Mapping[str, Sequence[Mapping[str, float]]], how: str) -> None:
    """Show the gradients of the input and of the head."""
    report.results["gradients"] = histories
    report.write("## Gradients")
    report.draw(
        "gradients",
        figures.plot_gradients(histories),
        "The gradient of the loss with respect to the embedding of [CLS], to the embeddings of the whole text (both "
        "averaged over the texts of a batch) and to the weight of the classifier, before clipping. Top: its norm. "
        "Bottom: its spread over the dimensions, which is 0 if all dimensions have equal gradients. Each point is a "
        f"mean over a thirtieth of the steps. All networks were {how}",
    )


def report_independence(report: Report, trained: Mapping[str, PreTrainedModel], training: Training, how: str) -> None:
    """Show the independence of embeddings before and after training."""
    tokens = common_tokens(training)
    measured: dict[str, dict[str, list[Independence]]] = {"token table": {}, "output vectors": {}}
    for name, after in trained.items():
        pair = initial_model(after.config, training.seed).eval(), after
        tables: Any = [model.get_input_embeddings().weight for model in pair]
        measured["token table"][name] = [measure_independence(table[tokens]) for table in tables]
        measured["output vectors"][name] = [measure_independence(output_vectors(model, training)) for model in pair]
    report.results["independence"] = {
        kind: {
            name: {when: one.summary() for when, one in zip(("before", "after"), pair, strict=True)}
            for name, pair in networks.items()
        }
        for kind, networks in measured.items()
    }
    report.write("## Independence of embeddings")
    report.draw(
        "independence",
        figures.plot_independence(measured),
        f"Top: the embeddings of the {len(tokens):,} most frequent tokens. Bottom: the output vectors of the tokens "
        "of validation texts. Dashed and pale: before training. The numbers on the bars are the participation "
        f"ratios, the effective numbers of dimensions. “The model” is the analyzed one; the other networks were {how}",
    )


def common_tokens(training: Training) -> list[int]:
    """Return the ids of the most frequent tokens of the training texts."""
    ids = training.tokenizer(list(training.rows["train"]["text"]))["input_ids"]
    return [token for token, _ in Counter(chain.from_iterable(ids)).most_common(MAX_VECTORS)]


@torch.no_grad()
def output_vectors(model: PreTrainedModel, training: Training) -> torch.Tensor:
    """Return the output vectors of the first tokens of the validation texts, `(N, H)`."""
    vectors: list[torch.Tensor] = []
    for text in training.rows["validation"]["text"]:
        inputs = training.tokenizer(text, truncation=True, max_length=training.max_length, return_tensors="pt")
        vectors += model.base_model(**inputs.to(model.device)).last_hidden_state[0]
        if len(vectors) >= MAX_VECTORS:
            break
    return torch.stack(vectors[:MAX_VECTORS])


def report_complexity(report: Report, configs: Mapping[str, PreTrainedConfig], batch_size: int) -> None:
    """Show the costs over the length of the texts."""
    others = {"paper's modulation": WaveConfig(), "BERT-base": BertConfig(), "FNet-base": FNetConfig()}
    networks = {**configs, **others}
    costs = {
        name: {length: cost(config, batch_size, length) for length in LENGTHS} for name, config in networks.items()
    }
    report.results["complexity"] = {
        name: {length: asdict(value) for length, value in of_length.items()} for name, of_length in costs.items()
    }
    report.write("## Complexity")
    report.draw(
        "complexity",
        figures.plot_complexity(networks, batch_size, LENGTHS),
        f"Costs in closed form, for batches of {batch_size} texts in float32: the operations of matrix products and "
        "convolutions in a training step (for FNet also of its Fourier transform), and the bytes saved for the "
        "backward pass. BERT's attention is the eager one, which saves its scores; position tables are assumed to "
        "be long enough.",
    )
    lengths = LENGTHS[::4]
    header = ["network", "parameters", *(f"{length} tokens" for length in lengths)]
    rows = [[name, *describe_costs([of_length[length] for length in lengths])] for name, of_length in costs.items()]
    report.write(markdown_table(header, rows))


def describe_costs(costs: Sequence[Cost]) -> list[str]:
    """Return the cells of a row: the number of parameters, and the cost at each length."""
    cells = [f"{3 * one.flops / 1e9:,.1f} GFLOP, {one.saved_bytes / 2**20:,.0f} MiB" for one in costs]
    return [f"{costs[0].parameters / 1e6:.2f} M", *cells]
