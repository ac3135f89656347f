#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train vectors of sentences by pairs that belong together, with sentence-transformers.

The training rows are pairs, `sentence1` and `sentence2`; each first sentence of a batch has to find its second one.
The validation rows have a `label` besides, the similarity that people gave them, as STS-B. Without a training file,
sentences that follow each other in documentation are the pairs:

    python examples/train_sentence_embeddings.py --validation_file STSB.csv --do_train --do_eval --output_dir DIR

`SentenceTransformer(DIR, processor_kwargs={"model_max_length": 128})` then loads the model.
"""

from itertools import chain
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, DatasetDict
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import AutoModel

from wave_hf.documentation_tasks import load_sentence_pairs
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.data import check_columns, hold_out_and_limit, load_raw_datasets
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.trainer import report, run_facts

PAIR = ["sentence1", "sentence2"]


def main() -> None:
    """Do what the command line asks for."""
    model_args, data_args, args = setup_run(DataArguments, SentenceTransformerTrainingArguments)
    splits = read_pairs(model_args, data_args, args)
    model = load_encoder(model_args, data_args, args, splits)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=args,
        train_dataset=splits["train"].select_columns(PAIR) if "train" in splits else None,
        loss=MultipleNegativesRankingLoss(model),
    )
    network: Any = model[0]
    facts = run_facts(network.auto_model, args.world_size, args.seed)
    if args.do_train:
        metrics = trainer.train(resume_from_checkpoint=args.resume_from_checkpoint).metrics
        trainer.save_model()
        trainer.save_state()
        report(trainer, "train", metrics | facts | {"train_samples": len(splits["train"])})
    if args.do_eval:
        rows = splits["validation"]
        first, second, scores = (rows[name][:] for name in (*PAIR, "label"))
        evaluate = EmbeddingSimilarityEvaluator(first, second, scores, write_csv=False)
        metrics = {f"eval_{name}": value for name, value in evaluate(model).items()}
        report(trainer, "eval", metrics | facts | {"eval_samples": len(rows)})


def read_pairs(
    model_args: ModelArguments, data_args: DataArguments, args: SentenceTransformerTrainingArguments
) -> dict[str, Dataset]:
    """Return the pairs to train on, and those to evaluate on with a label."""
    needed = needed_splits(args)
    is_named = data_args.dataset_name or data_args.files
    raw = load_raw_datasets(model_args, data_args) if is_named else DatasetDict()
    if "train" in needed - raw.keys():
        raw["train"] = load_sentence_pairs()["train"]
    for split in sorted(needed):
        if split not in raw:
            raise SystemExit(f"This run needs {split} data: pass --{split}_file")
        check_columns(split, [*PAIR, "label"] if split == "validation" else PAIR, raw[split].column_names)
    return hold_out_and_limit(raw, data_args, needed, args.seed)


def load_encoder(
    model_args: ModelArguments,
    data_args: DataArguments,
    args: SentenceTransformerTrainingArguments,
    splits: dict[str, Dataset],
) -> SentenceTransformer:
    """Return the checkpoint or a new network as what sentence-transformers makes of it: the mean over its tokens."""
    texts = chain(*(splits["train"][name] for name in PAIR)) if "train" in splits else ()
    model, tokenizer = load_model_and_tokenizer(
        model_args, load_config(model_args), texts, args.seed, args.resume_from_checkpoint, AutoModel
    )
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        # The library takes the limit of the config as a number, and a Wave Network has none.
        options: dict[str, Any] = {"processor_kwargs": {"model_max_length": data_args.max_seq_length}}
        return SentenceTransformer(folder, device="cpu" if args.use_cpu else None, **options)


if __name__ == "__main__":
    main()
