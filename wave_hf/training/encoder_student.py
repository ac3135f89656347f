# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The student of an encoder distillation: from the tokens of its teachers to a saved and evaluated encoder."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from safetensors import torch as safetensors
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.modules import Transformer
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from ..files import writing
from ..transplant import plant, sif_weights, token_frequencies
from .arguments import DataArguments, ModelArguments
from .data import check_columns, load_file
from .encoder_distillation import EncoderDistillationArguments
from .encoder_targets import EncoderTeacher, StoredTargets, principal_components
from .errors import exit_on_error
from .tokenizing import length_options, map_options
from .word_order_probe import negation_triples, triple_accuracy, word_order_triples

PAIR = ("sentence1", "sentence2")
PCA_ROWS = 100_000  # targets that the principal components are computed from
COUNTED_TEXTS = 200_000  # texts that the tokens are counted in
EVAL_TEXTS = 2000  # the most texts to hold out, unless --max_eval_samples says otherwise
PROBE_TEXTS, PROBE_TRIPLES = 100_000, 500  # where the probe's sentences come from, and the triples of each kind
COMPONENTS_NAME = "target_components.safetensors"
UPDATE_SHARE = 0.3  # how large the update of a new layer is, as a share of the token vectors
MAX_TOKENS = 512  # what sentence-transformers cuts texts at, unless its user sets another length


def load_encoder_teachers(
    model_args: ModelArguments, data_args: EncoderDistillationArguments, training_args: TrainingArguments
) -> list[EncoderTeacher]:
    """Load the teachers."""
    options = replace(model_args, model_revision="main").hub_options  # the revision is the student's
    options["cache_folder"] = options.pop("cache_dir")
    return [
        EncoderTeacher(
            name,
            data_args.max_seq_length,
            training_args.per_device_eval_batch_size,
            data_args.teacher_bf16,
            training_args.device,
            **options,
        )
        for name in data_args.teacher_model_name_or_path
    ]


def load_components(model_args: ModelArguments, targets: StoredTargets, width: int) -> torch.Tensor:
    """Return the directions that the student's dimensions stand for, `(E, width)`: the checkpoint's, or new ones.

    Raises:
        SystemExit: The checkpoint learnt from vectors of another width, or `width` exceeds that of the targets.
    """
    size = targets[np.arange(1)].shape[1]
    file = Path(model_args.model_name_or_path or "", COMPONENTS_NAME)
    if model_args.model_name_or_path is None or not file.exists():
        return principal_components(targets[np.arange(min(PCA_ROWS, len(targets)))], width)
    with exit_on_error(str(file)):
        components = safetensors.load_file(file)["components"]
    if components.shape != (size, width):
        raise SystemExit(f"{file} is for vectors of {components.shape[0]} dimensions, but the teachers' have {size}")
    return components


def tokenize_texts(
    texts: Dataset, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, data_args: DataArguments
) -> dict[str, Dataset]:
    """Return the token ids of the texts, and which row of the targets is theirs; the last texts are for evaluation."""
    options = length_options(tokenizer, config, data_args)
    rows = texts.map(lambda batch: tokenizer(batch["text"], **options), **map_options(texts, data_args))
    rows = rows.add_column("target", np.arange(len(rows)))
    held_out = min(data_args.max_eval_samples or EVAL_TEXTS, len(rows) // 20)
    return {
        "train": rows.select(range(len(rows) - held_out)),
        "validation": rows.select(range(len(rows) - held_out, len(rows))),
    }


def plant_teacher_tokens(
    network: Any,
    tokenizer: PreTrainedTokenizerBase,
    teachers: Sequence[EncoderTeacher],
    components: torch.Tensor,
    texts: Sequence[str],
) -> None:
    """Start the token table from the teachers' vectors of single tokens, those of frequent tokens short.

    Args:
        network: A new network.
        tokenizer: Its tokenizer, of any kind.
        teachers: The teachers.
        components: The directions that the student's dimensions stand for, `(E, H)`, see `principal_components`.
        texts: Texts to count the tokens in.
    """
    tokens = [str(tokenizer.decode([token])).removeprefix("##").strip() for token in range(len(tokenizer))]
    vectors = torch.from_numpy(np.concatenate([teacher.encode(tokens) for teacher in teachers], axis=1)).float()
    weights = sif_weights(token_frequencies(tokenizer, texts[:COUNTED_TEXTS]))
    width = network.embed_tokens.embedding_dim
    plant(network, (vectors - vectors.mean(dim=0)) @ components[:, :width] * weights.unsqueeze(1))


@torch.no_grad()
def shrink_updates(network: Any, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
    """Let new layers start as a small addition to the trained token vectors, which they would drown otherwise."""
    ids = torch.tensor([id for ids in tokenizer(texts[:COUNTED_TEXTS])["input_ids"] for id in ids])
    size = network.embed(network.look_up(ids.unique().unsqueeze(0))).square().mean().sqrt()
    for layer in network.layers:
        if layer.update_norm is not None:
            layer.update_norm.weight.fill_(UPDATE_SHARE * size)


def save_encoder(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, components: torch.Tensor, folder: Path
) -> SentenceTransformer:
    """Save a student for transformers and for sentence-transformers, whose vector of a text is its `pooler_output`."""
    with TemporaryDirectory() as copy:
        model.save_pretrained(copy)
        tokenizer.save_pretrained(copy)
        module = Transformer(
            copy,
            modality_config={"text": {"method": "forward", "method_output_name": "pooler_output"}},
            module_output_name="sentence_embedding",
            processor_kwargs={"model_max_length": MAX_TOKENS},
        )
    encoder = SentenceTransformer(modules=[module], device=str(model.device))
    encoder.save(str(folder), create_model_card=False)
    # The library takes the limit of the config as a number, and a Wave Network has none.
    options = folder / "sentence_bert_config.json"
    settings = json.loads(options.read_text(encoding="utf-8")) | {"max_seq_length": MAX_TOKENS}
    with writing(options) as stream:
        json.dump(settings, stream, indent=2)
    safetensors.save_file({"components": components.contiguous()}, folder / COMPONENTS_NAME)
    return encoder


def evaluate_encoder(
    encoder: SentenceTransformer, texts: Dataset, data_args: EncoderDistillationArguments
) -> dict[str, float]:
    """Return how an encoder does on the probe of word order and negation, and on --validation_file if it is given."""
    sentences = texts["text"][-PROBE_TEXTS:]
    probes = {"word_order": word_order_triples(sentences), "negation": negation_triples(sentences)}
    metrics = {}
    for name, triples in probes.items():
        if chosen := list(islice(triples, PROBE_TRIPLES)):
            metrics[f"eval_{name}_accuracy"] = triple_accuracy(encoder.encode, chosen)
    if data_args.validation_file:
        pairs = load_file(data_args.validation_file)
        check_columns("validation", [*PAIR, "label"], pairs.column_names)
        first, second, scores = (pairs[name][:] for name in (*PAIR, "label"))
        evaluate = EmbeddingSimilarityEvaluator(first, second, scores, write_csv=False)
        metrics |= {f"eval_{name}": value for name, value in evaluate(encoder).items()}
    return metrics
