"""Export of a trained classifier to ONNX, to run it without torch and transformers.

    python -m wave_hf.export MODEL_DIR OUT_DIR --int8

OUT_DIR then holds the files that onnxruntime and tokenizers need, a report that compares each form of the model with
the checkpoint, and SHA256SUMS, with which `sha256sum --check SHA256SUMS` finds files damaged in transfer.
"""

import copy
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import onnxruntime
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from tokenizers import Tokenizer
from torch import nn
from torch.utils.benchmark import Timer
from transformers import HfArgumentParser, PreTrainedTokenizerBase
from transformers.exporters import OnnxConfig, OnnxExporter, OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

from .compression import factorize_embeddings, prune_vocabulary
from .configuration_wave import WaveConfig
from .documentation_corpus import load_documentation_corpus
from .files import load_classifier, new_folder
from .modeling_wave import WaveForSequenceClassification
from .training.errors import exit_on_error
from .training.readers import load_texts, read_file

BATCH_SIZE = 64
MIN_RUN_TIME = 1.0  # seconds that each latency is measured for

Inputs = dict[str, np.ndarray]  # each `(B, T)`, int64


@dataclass
class Form:
    """A form of the model: a function from inputs to logits `(B, num_labels)`, its tokenizer and its size in bytes."""

    compute_logits: Callable[[Inputs], np.ndarray]
    tokenizer: Tokenizer
    bytes: int

    @classmethod
    def of_model(cls, model: WaveForSequenceClassification, tokenizer: Tokenizer) -> "Form":
        """Return the form that runs in PyTorch."""

        @torch.inference_mode()
        def compute_logits(inputs: Inputs) -> np.ndarray:
            return model(**{name: torch.from_numpy(ids) for name, ids in inputs.items()}).logits.numpy()

        return cls(compute_logits, tokenizer, sum(weight.nbytes for weight in model.state_dict().values()))

    @classmethod
    def of_file(cls, file: Path, tokenizer: Tokenizer) -> "Form":
        """Return the form that runs in onnxruntime, on one core."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]

        def compute_logits(inputs: Inputs) -> np.ndarray:
            return session.run(["logits"], {name: inputs[name] for name in names})[0]

        return cls(compute_logits, tokenizer, file.stat().st_size)

    def encode(self, texts: list[Any]) -> Inputs:
        """Return the inputs of texts, or of pairs of them."""
        encodings = self.tokenizer.encode_batch(texts)
        columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        return {name: np.array([getattr(row, column) for row in encodings]) for name, column in columns.items()}

    def classify(self, texts: list[Any]) -> np.ndarray:
        """Return the logits of all texts, `(N, num_labels)`."""
        batches = (texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE))
        return np.concatenate([self.compute_logits(self.encode(batch)) for batch in batches])

    def milliseconds(self, texts: list[Any]) -> float:
        """Return the median latency of one batch on one core, without tokenization."""
        variables = {"run": self.compute_logits, "inputs": self.encode(texts)}
        timer = Timer("run(inputs)", globals=variables, num_threads=1)
        return 1000 * timer.blocked_autorange(min_run_time=MIN_RUN_TIME).median


@dataclass
class ExportArguments:
    """Options of the export."""

    int8: bool = field(default=False, metadata={"help": "Also write model_int8.onnx."})
    vocab_size: int | None = field(
        default=None, metadata={"help": "Keep this many of the most frequent tokens of the training texts. None: all."}
    )
    embedding_size: int | None = field(
        default=None, metadata={"help": "Factorize the token table to this width. None: keep it."}
    )
    train_file: str | None = field(
        default=None, metadata={"help": "Texts to count tokens in, csv or json. None: the documentation corpus."}
    )
    validation_file: str | None = field(
        default=None,
        metadata={"help": "Rows to evaluate on, csv or json: text, text_pair, label. None: the documentation corpus."},
    )


def main() -> None:
    """Parse the command line, export the model and print the report."""
    description = "Export a classifier to ONNX."
    parser = HfArgumentParser(ExportArguments, prog="python -m wave_hf.export", description=description)  # type: ignore[arg-type]
    parser.add_argument("model_dir", metavar="MODEL_DIR", help="Folder or Hub id of the trained classifier.")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="Output folder, new or empty.")
    args, folders = parser.parse_args_into_dataclasses()
    # The exporter warns about operators that this network does not have.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with exit_on_error(f"Export of {folders.model_dir}"):
        report = export(folders.model_dir, folders.out_dir, **asdict(args))
    print(json.dumps(report, indent=2))


def export(
    model_dir: str,
    out_dir: str | Path,
    int8: bool = False,
    vocab_size: int | None = None,
    embedding_size: int | None = None,
    train_file: str | None = None,
    validation_file: str | None = None,
) -> dict[str, Any]:
    """Export a trained classifier to ONNX, with everything needed to use it, to a new folder, atomically.

    The inputs of `model.onnx` are `input_ids`, `attention_mask` and, if the network uses them, `token_type_ids`, each
    `(B, T)` int64 of any B and T. The output is `logits` `(B, num_labels)`, float32. `tokenizer.json` pads and
    truncates by itself, `config.json` has the labels, and `report.json` is the returned report.

    Args:
        model_dir: Folder or Hub id of a `WaveForSequenceClassification` and its tokenizer.
        out_dir: Output folder, new or empty.
        int8: Whether to write a quantized `model_int8.onnx` as well. It quantizes activations at run time with one
            scale per batch, so the logits of a text depend slightly on the rest of its batch.
        vocab_size: Largest number of tokens to keep, see `prune_vocabulary`; `None` keeps all.
        embedding_size: Width of the factorized token table, see `factorize_embeddings`; `None` keeps the table.
        train_file: Rows with a column `text`, csv or json, whose tokens are counted for `vocab_size`; `None` means the
            documentation corpus.
        validation_file: Rows to evaluate on, csv or json, with a column `text` and, optionally, `text_pair` and
            `label`; `None` means the documentation corpus, without its labels.

    Returns:
        The report. For each form of the model: its size in bytes, the largest difference of its logits from the
        checkpoint's, the share of equal labels (except for regression), the accuracy if there are labels, and the
        median milliseconds of a batch of one text (of median length) and of 64 texts on one core.

    Raises:
        FileExistsError: `out_dir` is not empty.
        OSError: A file of the model is missing.
        TypeError: `vocab_size` is given, but the tokenizer is not a WordPiece tokenizer.
        ValueError: The model is not a classifier with its own tokenizer, or the rows do not fit it.
    """
    with new_folder(out_dir) as folder:
        model, tokenizer = load_classifier(model_dir)
        texts, labels = load_validation_rows(validation_file, model.config)
        forms = {"checkpoint": Form.of_model(model, standalone_tokenizer(tokenizer, model.config))}
        model, tokenizer = compress(model, tokenizer, vocab_size, embedding_size, train_file)
        standalone = standalone_tokenizer(tokenizer, model.config)
        if vocab_size is not None or embedding_size is not None:
            forms["compressed"] = Form.of_model(model, standalone)
        programs = {"model.onnx": to_onnx(model)}
        if int8:
            programs["model_int8.onnx"] = quantize(programs["model.onnx"])
        model.config.to_json_file(folder / "config.json")  # save_pretrained would add the code of the model
        tokenizer.save_pretrained(folder)
        standalone.save(str(folder / "tokenizer.json"))
        for name, program in programs.items():
            onnx_ir.save(program, folder / name)
            forms[name] = Form.of_file(folder / name, standalone)
        report = measure(forms, texts, labels, model.config)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        write_checksums(folder)
    return report


def compress(
    model: WaveForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    vocab_size: int | None,
    embedding_size: int | None,
    train_file: str | None,
) -> tuple[WaveForSequenceClassification, PreTrainedTokenizerBase]:
    """Prune the vocabulary and factorize the token table, each if its size is given; see `export`."""
    if vocab_size is not None:
        model, tokenizer = prune_vocabulary(model, tokenizer, load_texts(train_file), vocab_size)
    if embedding_size is not None:
        model = factorize_embeddings(model, embedding_size)
    return model, tokenizer


def standalone_tokenizer(tokenizer: PreTrainedTokenizerBase, config: WaveConfig) -> Tokenizer:
    """Return a tokenizer that by default pads, and truncates to the positions of the network."""
    standalone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    standalone.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    limit, truncation = config.max_position_embeddings, standalone.truncation
    if limit and (truncation is None or truncation["max_length"] > limit):
        standalone.enable_truncation(limit)
    return standalone


def load_validation_rows(file: str | None, config: WaveConfig) -> tuple[list[Any], np.ndarray | None]:
    """Return texts, or pairs of them, and the ids of their labels, or `None` if they do not have one label each."""
    if file is None:
        return list(load_documentation_corpus()["validation"]["text"]), None
    rows = read_file(file, ["text", "text_pair"], "label", optional=["text_pair", "label"])
    texts: list[Any] = list(rows["text"])
    if "text_pair" in rows.column_names:
        texts = [(text, text_pair or "") for text, text_pair in zip(texts, rows["text_pair"], strict=True)]
    if "label" not in rows.column_names or config.problem_type not in (None, "single_label_classification"):
        return texts, None
    names = list(rows["label"])
    id2label: dict[Any, str] = config.id2label or {}
    label2id = {name: label_id for label_id, name in id2label.items()}
    if unknown := sorted(set(names) - set(label2id)):
        raise ValueError(f"{file} has the label {unknown[0]!r}, but the model has only {', '.join(label2id)}.")
    return texts, np.array([label2id[name] for name in names])


def to_onnx(model: WaveForSequenceClassification) -> onnx_ir.Model:
    """Return the network as a graph of standard ONNX operators, with dynamic batch size and length."""
    names = ["input_ids", "attention_mask"]
    if model.config.type_vocab_size or model.config.pair_encoding == "separate":
        names.append("token_type_ids")
    inputs: dict[str, Any] = {name: torch.ones(2, 2, dtype=torch.long) for name in names}
    sizes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in names}
    program = OnnxExporter().export(fold_projection(model), inputs, OnnxConfig(dynamic_shapes=sizes)).program
    ClearMetadataAndDocStringPass()(program)  # the metadata contains paths of this machine
    return program


def fold_projection(model: WaveForSequenceClassification) -> WaveForSequenceClassification:
    """Return a copy in which `embed_proj` is merged into the first layer's `variants`, if they follow each other.

    Tokens of a factorized table are then never widened to `hidden_size`, which saves time and space.
    """
    folded = copy.deepcopy(model)
    layer = folded.wave.layers[0]
    if folded.config.embedding_size is None or layer.residual or layer.local_kernel is not None:
        return folded
    variants, projection = layer.mixer.variants, folded.wave.embed_proj
    layer.mixer.variants = nn.Linear(projection.in_features, variants.out_features)
    with torch.no_grad():
        layer.mixer.variants.weight.copy_(variants.weight @ projection.weight)
        layer.mixer.variants.bias.copy_(variants(projection.bias))
    folded.wave.embed_proj = nn.Identity()
    return folded


def quantize(program: onnx_ir.Model) -> onnx_ir.Model:
    """Return the graph with its tables and matrices quantized to int8 by onnxruntime."""
    config = OnnxRuntimeDynamicConfig(op_types_to_quantize=["Gather", "MatMul"], per_channel=True)
    return OnnxRuntimeQuantizer(config).quantize(program, {}, OnnxExporter.export_format)


def measure(forms: dict[str, Form], texts: list[Any], labels: np.ndarray | None, config: WaveConfig) -> dict[str, Any]:
    """Return the report of `export`."""
    expected = forms["checkpoint"].classify(texts)
    one = [sorted(texts, key=lambda text: len("".join(text)))[len(texts) // 2]]
    many = (texts * BATCH_SIZE)[:BATCH_SIZE]
    measured = {}
    for name, form in forms.items():
        logits = form.classify(texts)
        measured[name] = {
            "bytes": form.bytes,
            "max_difference": float(abs(logits - expected).max()),
            "milliseconds_batch_1": form.milliseconds(one),
            "milliseconds_batch_64": form.milliseconds(many),
        }
        if config.problem_type == "multi_label_classification":
            measured[name]["label_agreement"] = float(((logits > 0) == (expected > 0)).mean())
        elif expected.shape[1] > 1:
            measured[name]["label_agreement"] = float((logits.argmax(-1) == expected.argmax(-1)).mean())
        if labels is not None:
            measured[name]["accuracy"] = float((logits.argmax(-1) == labels).mean())
    tokens = forms["checkpoint"].encode(one)["input_ids"].shape[1]
    return {"rows": len(texts), "tokens_batch_1": tokens, "forms": measured}


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, the output of `sha256sum` for all files of the folder."""
    files = sorted(folder.iterdir())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
