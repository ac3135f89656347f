#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a model that tags words: named entities, parts of speech, code.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch:

    python run_ner.py --config_name wave-encoder --train_file TRAIN.json --do_train --do_eval --output_dir DIR

Without data it learns to tag the code words of documentation strings.
"""

from pathlib import Path
from typing import Any

from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification

from wave_hf.documentation_tasks import load_code_words
from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.data import load_raw_datasets
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.labels import infer_token_task
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.setup import needed_splits, setup_run
from wave_hf.training.tasks import argmax_logits
from wave_hf.training.token_classification import (
    NerArguments,
    read_tagged_rows,
    score_tags,
    select_tagged_splits,
    tokenize_words,
    training_texts,
    write_tags,
)
from wave_hf.training.trainer import make_trainer, train_and_evaluate


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(NerArguments)
        needed = needed_splits(training_args)

        # The raw rows, and the tags that they have.
        raw = select_tagged_splits(load_raw_datasets(model_args, data_args, load_code_words), data_args, needed)
        config = load_config(model_args)
        task = infer_token_task(config, raw, "tags")

        # Rows of words and tags, with validation rows held out if there are none.
        rows = read_tagged_rows(raw, task, data_args, needed, training_args.seed)

        # The model learns the tags; a new tokenizer is trained on the training texts, and is cased, as names are.
        task.write_to(config)
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args,
            config,
            training_texts(rows),
            training_args.seed,
            checkpoint,
            AutoModelForTokenClassification,
            do_lower_case=False,
        )
        tokenized = tokenize_words(rows, tokenizer, model.config, task, data_args)
        create_repository(training_args)

    inputs = {split: tokens.remove_columns("word_ids") for split, tokens in tokenized.items()}
    trainer = make_trainer(
        training_args,
        model,
        tokenizer,
        inputs,
        lambda output: score_tags(output, task.label_names, data_args.return_entity_level_metrics),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        preprocess_logits_for_metrics=argmax_logits,
    )
    train_and_evaluate(trainer, inputs)
    if training_args.do_predict:
        predictions: Any = trainer.predict(inputs["test"], metric_key_prefix="predict").predictions
        if trainer.is_world_process_zero():
            file = Path(str(training_args.output_dir)) / "predictions.txt"
            write_tags(rows["test"], tokenized["test"], predictions, task, file)
    publish(trainer, model_args, data_args, "token-classification")


if __name__ == "__main__":
    main()
