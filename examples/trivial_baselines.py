#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""What can be had without a model: the least that a model of the documentation tasks has to beat.

    python examples/trivial_baselines.py --folder tasks

reads what `documentation_tasks.py --output_dir tasks` has written.

Code words: each word gets the tag that it has most often in training. Next sentence: the ending most like the sentence
before, by tf-idf. Parameters: what stands behind the asked name, up to the first full stop. Rated pairs of sentences,
such as those of STS-B, with `--rated_file`: how alike the sides are by tf-idf of the training sentences.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import DatasetDict, load_dataset
from run_swag import ENDINGS
from scipy.stats import spearmanr
from seqeval.metrics import accuracy_score, f1_score
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import HfArgumentParser

from wave_hf.documentation_corpus import split_sentences
from wave_hf.training.errors import exit_on_error
from wave_hf.training.squad import score_answers


def most_frequent_tags(splits: DatasetDict) -> dict[str, float]:
    """Return accuracy and F1 of tags that are looked up."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in splits["train"]:
        for word, tag in zip(row["tokens"], row["ner_tags"], strict=True):
            counts[word][tag] += 1
    tags = {word: of_word.most_common(1)[0][0] for word, of_word in counts.items()}
    rows = splits["validation"]
    predictions = [[tags.get(word, "O") for word in words] for words in rows["tokens"]]
    references = list(rows["ner_tags"])
    return {
        "accuracy": float(accuracy_score(references, predictions)),
        "f1": float(f1_score(references, predictions)),
    }


def fit_words(splits: DatasetDict) -> TfidfVectorizer:
    """Learn from the sentences of training which words are rare."""
    texts = [text for name in ("sent1", *ENDINGS) for text in splits["train"][name]]
    return TfidfVectorizer(sublinear_tf=True).fit(texts)


def most_alike_endings(splits: DatasetDict) -> dict[str, float]:
    """Return the accuracy of the ending most like the sentence before."""
    vectorizer = fit_words(splits)
    rows = splits["validation"]
    right = 0
    for row in rows:
        alike = vectorizer.transform([row[name] for name in ENDINGS]) @ vectorizer.transform([row["sent1"]]).T
        right += int(alike.toarray().argmax() == row["label"])
    return {"accuracy": right / len(rows)}


def first_sentences(splits: DatasetDict) -> dict[str, float]:
    """Return the scores of the sentence behind the name."""
    rows = splits["validation"]
    predictions = []
    for question, context in zip(rows["question"], rows["context"], strict=True):
        name = question.removeprefix("What is ").removesuffix("?")
        behind = context.partition(f"{name} : ")[2]
        predictions.append(split_sentences(behind)[0])
    return score_answers(predictions, rows["answers"][:])


def likeness(splits: DatasetDict, rated_file: str) -> dict[str, float]:
    """Return how well tf-idf ranks rated pairs of sentences."""
    vectorizer = fit_words(splits)
    rows = load_dataset("csv", data_files=rated_file, split="train")
    first, second = (vectorizer.transform(rows[name]) for name in ("sentence1", "sentence2"))
    alike = np.asarray(first.multiply(second).sum(axis=1)).ravel()
    return {"spearman": float(spearmanr(alike, rows["label"]).statistic)}


BASELINES = {"code_words": most_frequent_tags, "next_sentences": most_alike_endings, "parameters": first_sentences}


@dataclass
class BaselineArguments:
    """Where the rows are."""

    folder: str = field(metadata={"help": "What documentation_tasks.py has written."})
    rated_file: str | None = field(default=None, metadata={"help": "csv file of sentence1, sentence2 and label."})


def main() -> None:
    """Print the scores of each task on its validation rows as a line of json."""
    with exit_on_error("Arguments"):
        (args,) = HfArgumentParser(BaselineArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    for name, measure in BASELINES.items():
        files = {split: str(Path(args.folder) / name / f"{split}.json") for split in ("train", "validation")}
        with exit_on_error(args.folder):
            splits = load_dataset("json", data_files=files)
        print(json.dumps({"task": name, **measure(splits)}))
        if name == "next_sentences" and args.rated_file:
            print(json.dumps({"task": "rated pairs", **likeness(splits, args.rated_file)}))


if __name__ == "__main__":
    main()
