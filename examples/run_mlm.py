#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Pretrain a model with masked language modeling on texts without labels.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, with a tokenizer trained on the texts:

    python run_mlm.py --config_name wave-encoder --train_file TEXTS.txt --do_train --do_eval --output_dir DIR

`run_classification.py --model_name_or_path DIR` and the other scripts then fine-tune it, with the same tokenizer.
"""

from transformers import AutoModelForMaskedLM

from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import load_raw_datasets
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.masked_lm import (
    MaskedLMTrainer,
    MlmArguments,
    make_collator,
    read_texts,
    score_masked_tokens,
    tokenize_texts,
    training_texts,
)
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.tasks import argmax_logits
from wave_hf.training.tokenizing import length_options
from wave_hf.training.trainer import make_trainer, train_and_evaluate


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(MlmArguments)

        # Rows of text, or streams of them, with validation rows held out if there are none.
        raw = load_raw_datasets(model_args, data_args, streaming=data_args.streaming)
        texts = read_texts(raw, data_args, training_args, needed_splits(training_args))

        # A new tokenizer is trained on the training texts.
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args,
            load_config(model_args),
            training_texts(texts, data_args),
            training_args.seed,
            checkpoint,
            AutoModelForMaskedLM,
        )
        options = length_options(tokenizer, model.config, data_args, is_training="train" in texts)
        splits = tokenize_texts(texts, tokenizer, options, data_args)
        create_repository(training_args)

    # The metrics need the masked inputs, and of the logits only the argmax.
    training_args.include_for_metrics = ["inputs"]
    trainer = make_trainer(
        training_args,
        model,
        tokenizer,
        splits,
        lambda output: score_masked_tokens(output, tokenizer.mask_token_id),
        trainer_class=MaskedLMTrainer,
        data_collator=make_collator(tokenizer, options["max_length"], data_args, training_args),
        preprocess_logits_for_metrics=argmax_logits,
    )
    train_and_evaluate(trainer, splits)
    publish(trainer, model_args, data_args, "fill-mask")


if __name__ == "__main__":
    main()
