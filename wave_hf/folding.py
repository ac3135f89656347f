# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Folding: turning a one-layer Wave Network into a table that predicts at the price of one look-up a token, exactly.

    folded = fold("waves")
    folded.predict(["Stocks fell on Monday."])
    folded.save("waves-folded")

`folded_wave.py` has the mathematics, and does the predicting. It is copied into every saved folder, which needs
neither torch nor this package.
"""

import copy
import json
import logging
import random
import shutil
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import safetensors.numpy
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from . import folded_wave
from .configuration_wave import WaveConfig
from .files import load_classifier, new_folder, write_checksums
from .folded_wave import FORMAT_VERSION, MODEL_TYPE, Text, TextTokenizer, Tokens
from .modeling_wave import WaveForSequenceClassification, WaveModel
from .remote_code import is_instance
from .tokenization import check_tokenizer_fits, load_saved_tokenizer, standalone_tokenizer

logger = logging.getLogger(__name__)

TableDtype = Literal["float32", "float16", "int8"]

# Rare scripts and unassigned code points lie above; emoji lie below.
COMPARED_CODE_POINTS = 0x20000
RANDOM_TEXTS = 5000


class FoldedWave(folded_wave.FoldedWave):
    """A folded Wave Network that can be saved; all else is as in the file that is saved with it."""

    def save(self, folder: str | Path) -> None:
        """Write everything that predicting needs, and checksums, atomically.

        Args:
            folder: Output folder, new or empty.

        Raises:
            FileExistsError: The folder is not empty.
        """
        with new_folder(folder) as unfinished:
            self.write(unfinished)
            write_checksums(unfinished)

    def write(self, folder: Path) -> None:
        """Write everything that predicting needs into a folder."""
        config, tokenizer = self.config, self.tokenizer
        weights = self.weights | {"table": self.weights["table"].astype(config["dtype"], copy=False)}
        if tokenizer.compared_versions is not None:
            config = config | {"compared_versions": tokenizer.compared_versions}
            weights["agreeing_characters"] = np.packbits(tokenizer.agreeing_characters)
        (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "tokenizer.json").write_text(tokenizer.json, encoding="utf-8")
        (folder / "model.safetensors").write_bytes(safetensors.numpy.save(weights))
        shutil.copyfile(folded_wave.__file__, folder / "folded_wave.py")


def fold(
    folder_or_model: str | Path | WaveForSequenceClassification | WaveModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    dtype: TableDtype = "float32",
) -> FoldedWave:
    """Fold a classifier, or a network without a head, which can then only `encode`.

    If tokie is installed, this also finds the characters on which it agrees with tokenizers, which takes seconds.

    Args:
        folder_or_model: The model, which is left as it is; or its folder or Hub id.
        tokenizer: The tokenizer of the model. If it limits the length of texts, as those of trained models do, texts
            are truncated (`wave_hf.tokenization.longest_text`). `None` means the one in the folder.
        dtype: How the table is stored: `"float32"`, `"float16"`, or `"int8"` with a scale for each row. All arithmetic
            is in float32.

    Returns:
        A model that predicts without torch. Its logits are those of the original, but for the rounding of the table.

    Raises:
        OSError: A file of the model is missing.
        TypeError: `folder_or_model` is another kind of model.
        ValueError: The network does not fold, weights are not finite, or the tokenizer does not belong to the model.
    """
    if dtype not in get_args(TableDtype):
        raise ValueError(f"dtype is {dtype!r}, but should be one of {', '.join(get_args(TableDtype))}.")
    if isinstance(folder_or_model, str | Path):
        model, own_tokenizer = load_model(str(folder_or_model))
        tokenizer = tokenizer or own_tokenizer
    else:
        model = folder_or_model
    if not is_instance(model, WaveForSequenceClassification, WaveModel):
        raise TypeError(
            f"folder_or_model is a {type(model).__name__}, but should be a WaveForSequenceClassification or WaveModel."
        )
    if tokenizer is None:
        raise ValueError("tokenizer is None, but should be the tokenizer of the model.")
    if obstacle := model.config.folding_obstacle:
        raise ValueError(f"{obstacle} Train a model with that setting.")
    weights = fold_weights(model)
    config = folded_config(model, dtype)
    standalone = standalone_tokenizer(tokenizer, model.config)
    check_tokenizer(standalone, model.config)
    tokenizer_json = standalone.to_str()
    return FoldedWave(
        config, store_table(weights, dtype), TextTokenizer(tokenizer_json, *compare_tokenizers(tokenizer_json))
    )


def load_model(model_dir: str) -> tuple[WaveForSequenceClassification | WaveModel, PreTrainedTokenizerBase]:
    """Load a classifier, or a network without a head, and its tokenizer."""
    config, _ = PreTrainedConfig.get_config_dict(model_dir)
    if config.get("architectures") != [WaveModel.__name__]:
        return load_classifier(model_dir)
    model = WaveModel.from_pretrained(model_dir, dtype=torch.float32)
    return model.eval(), load_saved_tokenizer(model_dir)


# The weights


@torch.no_grad()
def fold_weights(model: WaveForSequenceClassification | WaveModel) -> dict[str, np.ndarray]:
    """Return the tensors of the folded model in float32, computed in float64.

    Those of D columns have the 2H of both variants, and then, if the layer has a residual, the E of the token table:
    the mean of the residual is that of the token vectors, widened once. See `examples/docs/folded-format.md`.

    Raises:
        ValueError: A weight is not finite.
    """
    for name, weight in model.state_dict().items():
        if not weight.isfinite().all():
            raise ValueError(f"The weights of the model hold numbers that are not finite: {name}.")
    head: Any = copy.deepcopy(model).cpu().double()
    wave: Any = head.base_model
    layer = wave.layers[0]

    def columns(rows: torch.Tensor) -> torch.Tensor:
        variants = layer.mixer.variants(wave.embed_proj(rows))
        return torch.cat((variants, rows), dim=1) if layer.residual else variants

    weights = {"table": columns(wave.embed_tokens.weight)}
    if wave.embed_token_types is not None:
        types = wave.embed_token_types.weight
        type_rows = columns(types) - columns(torch.zeros_like(types))
        # Nearly all tokens are of type 0, so it is part of the table.
        weights["table"] += type_rows[0]
        weights["type_rows"] = type_rows - type_rows[0]
    if layer.mixer.variant_kernel is not None:
        weights["kernel"] = fold_kernel(layer.mixer.variant_kernel.convolution, weights["table"].shape[1])
    readout, bias = linear_map(layer.mixer.readout_proj, 2 * wave.config.hidden_size, wave.config.hidden_size)
    if layer.residual:
        widen, widen_bias = linear_map(wave.embed_proj, wave.embed_tokens.embedding_dim, wave.config.hidden_size)
        readout, bias = torch.cat((readout, widen), dim=1), bias + widen_bias
    # The norm subtracts the mean over the dimensions, which is linear as well.
    weights |= {"readout.weight": readout - readout.mean(dim=0), "readout.bias": bias - bias.mean()}
    weights |= {f"norm.{name}": weight for name, weight in wave.norm.named_parameters()}
    if is_instance(head, WaveForSequenceClassification):
        weights |= {f"classifier.{name}": weight for name, weight in head.classifier.named_parameters()}
    return {name: weight.float().numpy() for name, weight in weights.items()}


def linear_map(module: nn.Module, in_features: int, out_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weight and the bias of a linear map; that of an identity keeps the first `out_features`."""
    if isinstance(module, nn.Linear):
        return module.weight, module.bias
    return torch.eye(out_features, in_features, dtype=torch.float64), torch.zeros(out_features, dtype=torch.float64)


def fold_kernel(convolution: nn.Conv1d, columns: int) -> torch.Tensor:
    """Return the weights of a token's row and of its neighbours' rows, `(K, D)`; a residual is the token's own."""
    taps = convolution.weight.squeeze(1).T  # (K, 2H)
    kernel = torch.zeros(len(taps), columns, dtype=taps.dtype)
    kernel[:, : taps.shape[1]] = taps
    kernel[len(taps) // 2] += 1  # the convolution is added to what it reads
    return kernel


def store_table(weights: dict[str, np.ndarray], dtype: TableDtype) -> dict[str, np.ndarray]:
    """Return the weights with the table in the dtype that it is stored in.

    Raises:
        ValueError: The table has numbers that are too large for float16.
    """
    table = weights["table"]
    if dtype == "int8":
        scales = abs(table).max(axis=1) / 127
        scales[scales == 0] = 1
        return weights | {"table": np.rint(table / scales[:, None]).astype(np.int8), "table_scales": scales}
    with np.errstate(over="ignore"):
        stored = table.astype(dtype)
    if not np.isfinite(stored).all():
        raise ValueError(f"dtype is {dtype}, but the table has numbers that are too large for it: fold to float32.")
    return weights | {"table": stored}


def folded_config(model: WaveForSequenceClassification | WaveModel, dtype: TableDtype) -> dict[str, Any]:
    """Return config.json of the folded model; without a classifier, there are no labels."""
    config: WaveConfig = model.config
    id2label: dict[Any, str] = {}
    problem = None
    if is_instance(model, WaveForSequenceClassification):
        id2label = config.id2label or {}
        problem = config.problem_type or ("single_label_classification" if len(id2label) > 1 else "regression")
    return {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "dtype": dtype,
        "hidden_size": config.hidden_size,
        "wave_operation": config.layer_operation(0),
        "readout": config.readout,
        "scale_waves": config.scale_waves,
        "pair_encoding": config.pair_encoding,
        "layer_norm_eps": config.layer_norm_eps,
        "problem_type": problem,
        "id2label": {str(label): name for label, name in id2label.items()},
    }


# The tokenizer


def check_tokenizer(tokenizer: Tokenizer, config: WaveConfig) -> None:
    """Raise ValueError unless the network has a row for each token and each token type of the tokenizer."""
    check_tokenizer_fits(tokenizer, config, "The model")
    pair = tokenizer.encode("a", "a").type_ids
    if config.type_vocab_size and max(pair) >= config.type_vocab_size:
        raise ValueError(
            f"The tokenizer has token types up to {max(pair)}, but type_vocab_size={config.type_vocab_size}."
        )
    is_split = max(pair) > 1 or pair != sorted(pair)  # a side of the pair is in two pieces
    if config.pair_encoding == "separate" and config.variant_kernel_size and is_split:
        raise ValueError(
            f"The tokenizer gives a pair the token types {pair}, but a network with pair_encoding='separate' and a "
            "variant_kernel_size folds only if each side of a pair is in one piece."
        )


@lru_cache(maxsize=1)  # one model is often folded to several dtypes
def compare_tokenizers(tokenizer_json: str) -> tuple[dict[str, str] | None, np.ndarray | None]:
    """Find the characters on which tokie and tokenizers agree.

    A character is one if both make the same tokens of it, alone as well as between letters. Random texts of these
    characters and of the vocabulary must then become the same tokens, or tokie is not used.

    Returns:
        The versions that were compared, and whether they agree, by code point, `(C,)`, bool; twice `None` if
        tokie is not to be used.
    """
    try:
        versions = {library: version(library) for library in ("tokie", "tokenizers")}
    except PackageNotFoundError:
        return None, None
    untruncated = Tokenizer.from_str(tokenizer_json)
    untruncated.no_truncation()
    whole = TextTokenizer(untruncated.to_str(), versions)
    if not whole.uses_tokie or whole.encode(["a"]).types.any():  # tokie returns no types
        return None, None

    agreeing = np.array([not 0xD800 <= code < 0xE000 for code in range(COMPARED_CODE_POINTS)])
    for codes in np.array_split(np.flatnonzero(agreeing), 16):  # an encoding takes a kilobyte
        agreeing[codes] = agree(whole, [f"{chr(code)} a{chr(code)}a" for code in codes])
    characters, words = [chr(code) for code in np.flatnonzero(agreeing)], list(untruncated.get_vocab())
    tokenizers = (whole, TextTokenizer(tokenizer_json, versions))
    if not (characters and all(agree(each, random_texts(characters, words)).all() for each in tokenizers)):
        logger.warning("tokie is not used, since it makes other tokens of some texts than tokenizers.")
        return None, None
    return versions, agreeing


def agree(tokenizer: TextTokenizer, texts: list[str]) -> np.ndarray:
    """Return for each text whether tokie and tokenizers make the same tokens of it, `(B,)`, bool."""
    exact, quick = tokenizer.encode(texts), tokenizer.encode_with_tokie(texts)
    is_same = exact.lengths == quick.lengths
    rows = np.repeat(np.flatnonzero(is_same), exact.lengths[is_same])
    is_other = exact.ids[np.repeat(is_same, exact.lengths)] != quick.ids[np.repeat(is_same, quick.lengths)]
    is_same[rows[is_other]] = False
    return is_same


def random_texts(characters: list[str], words: list[str]) -> list[str]:
    """Return texts of these characters and words, always the same; some are long."""
    rng = random.Random(0)
    pieces = rng.choices(words, k=RANDOM_TEXTS) + [" "] * RANDOM_TEXTS
    pieces += ["".join(rng.choices(characters, k=rng.randint(1, 9))) for _ in range(RANDOM_TEXTS)]
    lengths = [1000 if row % 100 == 0 else rng.randint(1, 30) for row in range(RANDOM_TEXTS)]
    return ["".join(rng.choices(pieces, k=length)) for length in lengths]


# Agreement


def measure_agreement(
    folded: FoldedWave,
    model: WaveForSequenceClassification | WaveModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[Text],
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """Compare a folded model with its original in evaluation mode.

    Args:
        folded: The folded model.
        model: Its original.
        tokenizer: The tokenizer of the original.
        texts: Texts or pairs to measure on.
        labels: The ids of their labels, `(B,)`; `None` if they are not known.

    Returns:
        The number of `rows` and, under `forms`, for the `checkpoint` and the `folded` model: the `bytes` of their
        weights, the `max_difference` of the logits (without a classifier: the vectors) from those of the checkpoint,
        the share of rows or labels on which both agree, `label_agreement` (not for regression), and the `accuracy` if
        labels are known.
    """
    tokens = TextTokenizer(standalone_tokenizer(tokenizer, model.config).to_str()).encode(texts)
    expected = compute_outputs(model, tokens)
    found = folded.logits(texts) if folded.config["id2label"] else folded.encode(texts)
    tensors: dict[str, Any] = {"checkpoint": model.state_dict(), "folded": folded.weights}
    forms: dict[str, dict[str, float]] = {}
    for form, outputs in {"checkpoint": expected, "folded": found}.items():
        forms[form] = {
            "bytes": sum(tensor.nbytes for tensor in tensors[form].values()),
            "max_difference": float(abs(outputs - expected).max()),
        }
        if folded.config["problem_type"] == "multi_label_classification":
            forms[form]["label_agreement"] = float(((outputs > 0) == (expected > 0)).mean())
        elif folded.config["problem_type"] == "single_label_classification":
            forms[form]["label_agreement"] = float((outputs.argmax(axis=1) == expected.argmax(axis=1)).mean())
            if labels is not None:
                forms[form]["accuracy"] = float((outputs.argmax(axis=1) == labels).mean())
    return {"rows": len(texts), "forms": forms}


@torch.inference_mode()
def compute_outputs(model: WaveForSequenceClassification | WaveModel, tokens: Tokens) -> np.ndarray:
    """Return the logits of a model for each text, or the vectors if it has no head: `(B, num_labels)` or `(B, H)`."""
    outputs = []
    for start, length in zip(tokens.starts, tokens.lengths, strict=True):
        own = slice(start, start + length)
        inputs = {"input_ids": tokens.ids[own], "token_type_ids": tokens.types[own]}
        output: Any = model(**{name: torch.from_numpy(row.astype(np.int64))[None] for name, row in inputs.items()})
        outputs.append(output.logits if is_instance(model, WaveForSequenceClassification) else output.pooler_output)
    return torch.cat(outputs).numpy()
