#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Train, evaluate and use a text classifier with nothing but transformers, datasets and a Wave Network.

    python train_classifier.py --train_file TRAIN.csv --validation_file VALIDATION.csv --output_dir DIR

Both files are csv or json files with the columns `text` and `label`. Without files, the classifier learns which
library a documentation sentence comes from. `run_classification.py` can do more, such as regression and resuming.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import ClassLabel, DatasetDict, Value, load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    EvalPrediction,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    pipeline,
    set_seed,
)

from wave_hf import WaveConfig, train_tokenizer
from wave_hf.documentation_corpus import load_documentation_corpus


@dataclass
class Arguments:
    """The rows, the network and its training."""

    output_dir: str = field(metadata={"help": "Folder for the trained model."})
    train_file: str | None = field(default=None, metadata={"help": "Rows to train on, csv or json."})
    validation_file: str | None = field(default=None, metadata={"help": "Rows to evaluate on. None: held-out rows."})
    vocab_size: int = field(default=14_000, metadata={"help": "Maximum number of tokens in the vocabulary."})
    max_seq_length: int = field(default=128, metadata={"help": "Truncate texts to this many tokens."})
    hidden_size: int = field(default=320, metadata={"help": "Size of the token embeddings."})
    num_train_epochs: float = field(default=2.0, metadata={"help": "Number of epochs."})
    batch_size: int = field(default=64, metadata={"help": "Number of texts in a batch."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak learning rate of AdamW."})
    seed: int = field(default=42, metadata={"help": "Seed of the weights, dropout and the order of rows."})


def main() -> None:
    """Run the steps in order."""
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    if not 0 <= args.seed < 2**32:
        raise SystemExit(f"--seed is {args.seed}, but should be at least 0 and less than 2**32")
    set_seed(args.seed)

    # Rows of text and label.
    rows = load_rows(args) if args.train_file else load_documentation_corpus()
    label_names = rows["train"].features["label"].names

    # A WordPiece tokenizer, trained on the training texts.
    tokenizer = train_tokenizer(rows["train"]["text"], args.vocab_size)
    tokenizer.model_max_length = args.max_seq_length
    rows = rows.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)

    # A new Wave Network of one layer.
    config = WaveConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden_size,
        hidden_dropout_prob=0.0,
        token_dropout_prob=0.25,
        classifier_dropout=0.2,
        id2label=dict(enumerate(label_names)),
        label2id={name: i for i, name in enumerate(label_names)},
    )
    model = AutoModelForSequenceClassification.from_config(config)

    training_args = TrainingArguments(
        output_dir=args.output_dir,
        num_train_epochs=args.num_train_epochs,
        per_device_train_batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        warmup_steps=0.05,
        save_strategy="no",
        seed=args.seed,
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    trainer.save_model()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)

    text = rows["validation"]["text"][0]
    print(text, *pipeline("text-classification", args.output_dir)(text))


def load_rows(args: Arguments) -> DatasetDict:
    """Load the files, with the labels as classes: their names are those in the training rows."""
    file_format = Path(str(args.train_file)).suffix[1:]
    files = {"train": args.train_file} | ({"validation": args.validation_file} if args.validation_file else {})
    # In a csv file, "NA" is a text or a label like any other.
    rows = load_dataset(file_format, data_files=files, **({"keep_default_na": False} if file_format == "csv" else {}))
    if "validation" not in rows:
        train, validation = rows["train"].train_test_split(0.1, seed=args.seed).values()
        rows = DatasetDict(train=train, validation=validation)
    rows = rows.select_columns(["text", "label"]).cast_column("label", Value("string"))
    return rows.cast_column("label", ClassLabel(names=sorted(rows["train"].unique("label"))))


def compute_metrics(output: EvalPrediction) -> dict[str, float]:
    """Return the accuracy."""
    return {"accuracy": float(np.mean(output.predictions.argmax(axis=-1) == output.label_ids))}  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
