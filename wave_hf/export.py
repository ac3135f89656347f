# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Export of a trained model, to run it without torch and transformers.

    python -m wave_hf.export MODEL_DIR OUT_DIR --int8
    python -m wave_hf.export MODEL_DIR OUT_DIR --format folded

OUT_DIR then holds an ONNX file for onnxruntime, or a folded model for numpy (see `wave_hf.folding`); the tokenizer and
the labels; a report that compares each form with the checkpoint; and SHA256SUMS, with which `sha256sum --check
SHA256SUMS` finds files damaged in transfer.
"""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import HfArgumentParser, PreTrainedTokenizerBase

from .compression import factorize_embeddings, prune_vocabulary
from .configuration_wave import WaveConfig
from .documentation_corpus import load_documentation_corpus
from .files import load_classifier, new_folder, write_checksums
from .folding import fold, load_model, measure_agreement
from .modeling_wave import WaveForSequenceClassification
from .training.errors import exit_on_error
from .training.readers import load_texts, read_file


@dataclass
class ExportArguments:
    """Options of the export."""

    format: Literal["onnx", "folded"] = field(
        default="onnx",
        metadata={"help": "onnx, or folded: a table for numpy, for a network whose config has no folding_obstacle."},
    )
    int8: bool = field(
        default=False, metadata={"help": "Also write model_int8.onnx; of a folded model, store the table in int8."}
    )
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
    description = "Export a trained model to ONNX, or fold it."
    parser = HfArgumentParser(ExportArguments, prog="python -m wave_hf.export", description=description)  # type: ignore[arg-type]
    parser.add_argument("model_dir", metavar="MODEL_DIR", help="Folder or Hub id of the trained model.")
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
    format: Literal["onnx", "folded"] = "onnx",
) -> dict[str, Any]:
    """Export a trained model, with everything needed to use it, to a new folder, atomically.

    The inputs of `model.onnx` are `input_ids`, `attention_mask` and, if the network uses them, `token_type_ids`, each
    `(B, T)` int64 of any B and T. The output is `logits` `(B, num_labels)`, float32. `tokenizer.json` pads and
    truncates by itself, `config.json` has the labels, and `report.json` is the returned report.

    Args:
        model_dir: Folder or Hub id of a `WaveForSequenceClassification` and its tokenizer; to fold, also of a
            `WaveModel`.
        out_dir: Output folder, new or empty.
        int8: Whether to write `model_int8.onnx` as well, whose activations have one scale per batch, so that the
            logits of a text depend slightly on the rest of its batch; a folded model then has its table in int8
            instead of float32, with a scale for each row.
        vocab_size: Largest number of tokens to keep, see `prune_vocabulary`; `None` keeps all.
        embedding_size: Width of the factorized token table, see `factorize_embeddings`; `None` keeps the table.
        train_file: Rows with a column `text`, csv or json, whose tokens are counted for `vocab_size`; `None` means the
            documentation corpus.
        validation_file: Rows to evaluate on, csv or json, with a column `text` and, optionally, `text_pair` and
            `label`; `None` means the documentation corpus, without its labels.
        format: `"onnx"`, or `"folded"` for what `wave_hf.folding.FoldedWave.load` reads.

    Returns:
        The report. For each form of the model: its size in bytes, the largest difference of its logits from the
        checkpoint's and, in ONNX, the median milliseconds of one text (of median length) and of 64 on one core. With a
        `validation_file` also the share of equal labels (except for regression) and, with labels, the accuracy.

    Raises:
        OSError: `out_dir` is not empty, or a file of the model is missing.
        TypeError: `vocab_size` is given, but the tokenizer is not a WordPiece tokenizer.
        ValueError: The model is not a classifier with its own tokenizer, the rows do not fit it, or it does not fold.
    """
    with new_folder(out_dir) as folder:
        original: Any
        original, own_tokenizer = load_model(model_dir) if format == "folded" else load_classifier(model_dir)
        texts, labels = load_validation_rows(validation_file, original.config)
        model, tokenizer = compress(original, own_tokenizer, vocab_size, embedding_size, train_file)
        if format == "folded":
            folded = fold(model, tokenizer, "int8" if int8 else "float32")
            report = measure_agreement(folded, original, own_tokenizer, texts, labels)
            folded.write(folder)
        else:
            from .onnx_export import write_onnx  # here, so that folding needs no ONNX libraries

            report = write_onnx(folder, (original, own_tokenizer), (model, tokenizer), int8, texts, labels)
        if validation_file is None:  # agreement on other texts says nothing about the user's
            for form in report["forms"].values():
                form.pop("label_agreement", None)
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


def load_validation_rows(file: str | None, config: WaveConfig) -> tuple[list[Any], np.ndarray | None]:
    """Return texts, or pairs of them, and the ids of their labels, or `None` if they do not have one label each."""
    if file is None:
        return list(load_documentation_corpus()["validation"]["text"]), None
    has_classes = config.problem_type in (None, "single_label_classification")
    label_column = "label" if has_classes else None  # others, such as lists of labels, are not measured
    rows = read_file(file, ["text", "text_pair"], label_column, optional=["text_pair", "label"])
    texts: list[Any] = list(rows["text"])
    if "text_pair" in rows.column_names:
        texts = [(text, text_pair or "") for text, text_pair in zip(texts, rows["text_pair"], strict=True)]
    if "label" not in rows.column_names:
        return texts, None
    names = list(rows["label"])
    id2label: dict[Any, str] = config.id2label or {}
    label2id = {name: label_id for label_id, name in id2label.items()}
    if unknown := sorted(set(names) - set(label2id)):
        raise ValueError(f"{file} has the label {unknown[0]!r}, but the model has only {', '.join(label2id)}.")
    return texts, np.array([label2id[name] for name in names])


if __name__ == "__main__":
    main()
