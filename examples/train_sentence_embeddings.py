#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train sentence embeddings on pairs of sentences that belong together, with sentence-transformers.

The training rows are pairs, `sentence1` and `sentence2`: among all second sentences of a batch, the model learns to
find the one that belongs to the first. The validation rows also have a `label`, the similarity that people gave the
pair, as in STS-B. Without a training file, the pairs are sentences that follow each other in documentation:

    python train_sentence_embeddings.py --validation_file STSB.csv --do_train --do_eval --output_dir DIR

`SentenceTransformer(DIR, processor_kwargs={"model_max_length": 128})` then loads the model.
"""

from itertools import chain
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from wave_hf.documentation_tasks import load_sentence_pairs
from wave_hf.training.arguments import DataArguments
from wave_hf.training.data import check_columns, hold_out_and_limit, load_raw_datasets
from wave_hf.training.errors import exit_all_ranks, exit_on_error
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.readers import read_cells, text_or_empty
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.trainer import report, run_facts

PAIR = ["sentence1", "sentence2"]


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, args = setup_run(DataArguments, SentenceTransformerTrainingArguments)
        needed = needed_splits(args)

        # Pairs to train on, and pairs with a label to evaluate on.
        is_named = data_args.dataset_name or data_args.files
        raw = load_raw_datasets(model_args, data_args) if is_named else DatasetDict()
        if "train" in needed - raw.keys():
            raw["train"] = load_sentence_pairs()["train"]
        read = {split: read_pairs(raw, split) for split in sorted(needed)}
        splits = hold_out_and_limit(read, data_args, needed, args.seed)

        # The mean of the network's hidden states; a new tokenizer is trained on the training texts.
        texts = chain(*(splits["train"][name] for name in PAIR)) if "train" in splits else ()
        network, tokenizer = load_model_and_tokenizer(
            model_args, load_config(model_args), texts, args.seed, args.resume_from_checkpoint, AutoModel
        )

    encoder = make_encoder(network, tokenizer, data_args.max_seq_length, use_cpu=args.use_cpu)

    facts = run_facts(network, args.world_size, args.seed)
    loss = MultipleNegativesRankingLoss(encoder)
    trainer = SentenceTransformerTrainer(model=encoder, args=args, train_dataset=splits.get("train"), loss=loss)
    if args.do_train:
        metrics = trainer.train(resume_from_checkpoint=args.resume_from_checkpoint).metrics
        trainer.save_model()
        trainer.save_state()
        report(trainer, "train", metrics | facts | {"train_samples": len(splits["train"])})
    if args.do_eval:
        rows = splits["validation"]
        first, second, scores = (rows[name][:] for name in (*PAIR, "label"))
        evaluate = EmbeddingSimilarityEvaluator(first, second, scores, write_csv=False)
        metrics = {f"eval_{name}": value for name, value in evaluate(encoder).items()}
        report(trainer, "eval", metrics | facts | {"eval_samples": len(rows)})


def read_pairs(raw: DatasetDict, split: str) -> Dataset:
    """Reduce the rows of a split to pairs and, in validation rows, the label of each."""
    if split not in raw:
        raise SystemExit(f"This run needs {split} data: pass --{split}_file")
    rows = raw[split]
    features = Features(dict.fromkeys(PAIR, Value("string")))
    if split == "validation":
        features["label"] = Value("float64")
    check_columns(split, features, rows.column_names)

    def read(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        columns: dict[str, list] = {name: read_cells(text_or_empty, batch[name], indices, name) for name in PAIR}
        if "label" in features:
            columns["label"] = read_cells(lambda label: float(text_or_empty(label)), batch["label"], indices, "label")
        return columns

    options = {"batched": True, "with_indices": True, "remove_columns": rows.column_names, "features": features}
    with exit_on_error(f"The {split} data"):
        return rows.map(read, desc=f"Reading {split} rows", **options)


def make_encoder(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int, use_cpu: bool
) -> SentenceTransformer:
    """Return the network as a SentenceTransformer, which averages the hidden states of all tokens."""
    with TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        # The library expects a maximum length, which the config of a Wave Network does not have.
        options: dict[str, Any] = {"processor_kwargs": {"model_max_length": max_length}}
        return SentenceTransformer(folder, device="cpu" if use_cpu else None, **options)


if __name__ == "__main__":
    main()
