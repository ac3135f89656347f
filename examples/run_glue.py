#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a model on a task of GLUE, or on rows of one or two sentences of your own.

The flow and the options are those of transformers' example of the same name. In addition a model may start from
scratch, and the rows of a task may come from files:

    python examples/run_glue.py --task_name rte --do_train --do_eval --output_dir DIR
    python examples/run_glue.py --task_name rte --train_file TRAIN.csv --validation_file VALIDATION.csv ...
"""

from common import (
    create_repository,
    exit_all_ranks,
    make_trainer,
    needed_splits,
    prepare_for_trainer,
    publish,
    run,
    make_compute_metrics,
    start,
)
from glue import GlueArguments, load_glue


def main() -> None:
    """Do what the command line asks for."""
    with exit_all_ranks():
        model_args, data_args, training_args = start(GlueArguments)
        needed = needed_splits(training_args)
        config, task, splits, metric = load_glue(model_args, data_args, needed, training_args.seed)
        model, tokenizer, splits = prepare_for_trainer(model_args, data_args, training_args, config, task, splits)
        create_repository(training_args)
    trainer = make_trainer(training_args, model, tokenizer, splits, make_compute_metrics(task, metric))
    run(trainer, splits, task, f"predict_results_{data_args.task_name}")
    publish(trainer, model_args, data_args)


if __name__ == "__main__":
    main()
