# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The ONNX form of a classifier: for onnxruntime, in float32 and in int8, with a report of how the forms agree."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.exporters import OnnxConfig, OnnxExporter, OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

from .configuration_wave import WaveConfig
from .modeling_wave import WaveForSequenceClassification
from .tokenization import standalone_tokenizer

BATCH_SIZE = 64
MIN_RUN_TIME = 1.0  # seconds that each latency is measured for

Inputs = dict[str, np.ndarray]  # each `(B, T)`, int64
Classifier = tuple[WaveForSequenceClassification, PreTrainedTokenizerBase]


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


def write_onnx(
    folder: Path,
    checkpoint: Classifier,
    compressed: Classifier,
    int8: bool,
    texts: list[Any],
    labels: np.ndarray | None,
) -> dict[str, Any]:
    """Write the files of the ONNX form, see `wave_hf.export.export`.

    Args:
        folder: Where to write.
        checkpoint: The trained classifier, which all forms are compared with.
        compressed: The classifier to export, perhaps compressed.
        int8: Whether to write a quantized `model_int8.onnx` as well.
        texts: Texts or pairs to measure on.
        labels: The ids of their labels, `(B,)`; `None` if they are not known.

    Returns:
        The report.
    """
    model, tokenizer = compressed
    standalone = padding_tokenizer(tokenizer, model.config)
    forms = {"checkpoint": Form.of_model(checkpoint[0], padding_tokenizer(checkpoint[1], checkpoint[0].config))}
    if model is not checkpoint[0]:
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
    return measure(forms, texts, labels, model.config)


def padding_tokenizer(tokenizer: PreTrainedTokenizerBase, config: WaveConfig) -> Tokenizer:
    """Return a tokenizer that by itself pads, and truncates to the longest text of the model."""
    standalone = standalone_tokenizer(tokenizer, config)
    standalone.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    return standalone


def to_onnx(model: WaveForSequenceClassification) -> onnx_ir.Model:
    """Return the network as a graph of standard ONNX operators, with dynamic batch size and length."""
    names = ["input_ids", "attention_mask"]
    if model.config.type_vocab_size or model.config.pair_encoding == "separate":
        names.append("token_type_ids")
    return export_graph(fold_projection(model), names)


def export_graph(model: PreTrainedModel, names: Sequence[str]) -> onnx_ir.Model:
    """Return a model as a graph whose inputs are these, each `(B, T)` int64 of any B and T."""
    inputs: dict[str, Any] = {name: torch.ones(2, 2, dtype=torch.long) for name in names}
    sizes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in names}
    program = OnnxExporter().export(model, inputs, OnnxConfig(dynamic_shapes=sizes)).program
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
