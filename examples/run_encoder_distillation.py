#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
r"""Distil encoders, the teachers, into a small one whose pooled state is the vector of a text.

The teachers' vectors of all texts are computed once, and kept in --targets_dir for every student. The student learns
their principal components: its first dimensions are those that matter most, and can be used alone. First train the
token table as static vectors, then the layers above it:

    python run_encoder_distillation.py --teacher_model_name_or_path TEACHER --text_files TEXTS.txt.gz \
        --config_name CONFIG --table_only --learning_rate 2e-3 --do_train --do_eval --output_dir TABLE
    python run_encoder_distillation.py --teacher_model_name_or_path TEACHER --text_files TEXTS.txt.gz \
        --model_name_or_path TABLE --learning_rate 1e-3 --layers_learning_rate 5e-4 --do_train --do_eval \
        --output_dir ENCODER

`SentenceTransformer("ENCODER")` then loads the student, and train_sentence_embeddings.py trains it further on pairs.
"""

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModel

from wave_hf.training.checkpoints import find_trainer_checkpoint
from wave_hf.training.encoder_distillation import (
    EncoderDistillationArguments,
    EncoderDistillationTrainer,
    mean_cosine,
    read_texts,
)
from wave_hf.training.encoder_student import (
    evaluate_encoder,
    load_components,
    load_encoder_teachers,
    plant_teacher_tokens,
    save_encoder,
    shrink_updates,
    tokenize_texts,
)
from wave_hf.training.encoder_targets import StoredTargets
from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.hub import create_repository, publish
from wave_hf.training.loading import load_config, load_model_and_tokenizer
from wave_hf.training.setup import setup_run
from wave_hf.training.trainer import make_trainer, report, train_and_evaluate


def main() -> None:
    """Run the steps in order."""
    # Every process checks its input and exits with the others if one of them finds a mistake.
    with exit_all_ranks():
        model_args, data_args, training_args = setup_run(EncoderDistillationArguments)
        if not training_args.do_train:
            raise SystemExit("Nothing to distil: pass --do_train, or use the encoder with sentence-transformers")
        config = load_config(model_args)
        texts = read_texts(model_args, data_args)
        teachers = load_encoder_teachers(model_args, data_args, training_args)
        create_repository(training_args)

    # The first process computes the teachers' vectors, and all processes read them.
    folders = [Path(data_args.targets_dir, Path(teacher.name).name) for teacher in teachers]
    with training_args.main_process_first():
        for teacher, folder in zip(teachers, folders, strict=True):
            teacher.store_targets(texts["text"], folder)

    with exit_all_ranks():
        targets = StoredTargets(texts["text"], folders)
        components = load_components(model_args, targets, config.hidden_size)

        # The student has the tokenizer of the first teacher, unless another one is named.
        model_args.tokenizer_name = model_args.tokenizer_name or model_args.model_name_or_path or teachers[0].name
        checkpoint = find_trainer_checkpoint(training_args)
        model, tokenizer = load_model_and_tokenizer(
            model_args, config, texts["text"], training_args.seed, checkpoint, AutoModel
        )
        if not (model_args.model_name_or_path or checkpoint):
            plant_teacher_tokens(model, tokenizer, teachers, components, texts["text"])
        splits = tokenize_texts(texts, tokenizer, config, data_args)

    layers: Any = model.layers
    if data_args.table_only:
        model.layers = nn.ModuleList()
    trainer_class = partial(EncoderDistillationTrainer, targets, components, data_args)
    trainer = make_trainer(training_args, model, tokenizer, splits, mean_cosine, trainer_class)
    train_and_evaluate(trainer, splits)

    if trainer.is_world_process_zero():
        if data_args.table_only:
            model.layers = layers
            shrink_updates(model, texts["text"], tokenizer)
        encoder = save_encoder(model, tokenizer, components, Path(str(training_args.output_dir)))
        if data_args.table_only:
            static: Any = encoder[0]
            static.auto_model.layers = nn.ModuleList()
        report(trainer, "probe", evaluate_encoder(encoder, texts, data_args))
    publish(trainer, model_args, data_args, task="sentence-similarity")


if __name__ == "__main__":
    main()
