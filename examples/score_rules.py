#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Score simple rules on the documentation tasks, to see what a model has to learn beyond them.

    python score_rules.py --folder tasks

reads the files of `python -m wave_hf.documentation_tasks --output_dir tasks`. The rules are:

- Code words: each word gets its most frequent tag in the training rows.
- Next sentence: the ending most similar to the first sentence, by tf-idf.
- Parameters: the first sentence after the name of the parameter.
- Rated pairs of sentences, such as those of STS-B, with --rated_file: the similarity of both sentences, by tf-idf of
  the training sentences.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import DatasetDict, load_dataset
from scipy.stats import spearmanr
from seqeval.metrics import accuracy_score, f1_score
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import HfArgumentParser

from wave_hf.documentation_corpus import split_sentences
from wave_hf.training.errors import exit_on_error
from wave_hf.training.squad import score_answers

ENDINGS = [f"ending{i}" for i in range(4)]


@dataclass
class RuleArguments:
    """The rows to score the rules on."""

    folder: str = field(metadata={"help": "Folder that wave_hf.documentation_tasks has written."})
    rated_file: str | None = field(
        default=None, metadata={"help": "csv file with the columns sentence1, sentence2 and label."}
    )


def main() -> None:
    """Print the scores of each rule on the validation rows as a line of json."""
    with exit_on_error("Arguments"):
        (args,) = HfArgumentParser(RuleArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    rules = {"code_words": most_frequent_tags, "next_sentences": most_similar_endings, "parameters": first_sentences}
    for task, score in rules.items():
        files = {split: str(Path(args.folder) / task / f"{split}.json") for split in ("train", "validation")}
        with exit_on_error(args.folder):
            splits = load_dataset("json", data_files=files)
        print(json.dumps({"task": task, **score(splits)}))
        if task == "next_sentences" and args.rated_file:
            print(json.dumps({"task": "rated pairs", **tfidf_similarity(splits, args.rated_file)}))


def most_frequent_tags(splits: DatasetDict) -> dict[str, float]:
    """Return accuracy and F1 if each word gets its most frequent tag in the training rows, and new words get O."""
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


def most_similar_endings(splits: DatasetDict) -> dict[str, float]:
    """Return the accuracy if the ending most similar to the first sentence is chosen."""
    vectorizer = fit_tfidf(splits)
    rows = splits["validation"]
    right = 0
    for row in rows:
        similarities = vectorizer.transform([row[name] for name in ENDINGS]) @ vectorizer.transform([row["sent1"]]).T
        right += int(similarities.toarray().argmax() == row["label"])
    return {"accuracy": right / len(rows)}


def first_sentences(splits: DatasetDict) -> dict[str, float]:
    """Return the scores if the first sentence after the name of the parameter is the answer."""
    rows = splits["validation"]
    predictions = []
    for question, context in zip(rows["question"], rows["context"], strict=True):
        name = question.removeprefix("What is ").removesuffix("?")
        description = context.partition(f"{name} : ")[2]
        predictions.append(split_sentences(description)[0])
    return score_answers(predictions, rows["answers"][:])


def tfidf_similarity(splits: DatasetDict, rated_file: str) -> dict[str, float]:
    """Return the rank correlation of the ratings with the similarity of both sentences."""
    vectorizer = fit_tfidf(splits)
    with exit_on_error(rated_file):
        rows = load_dataset("csv", data_files=rated_file, split="train")
    first, second = (vectorizer.transform(rows[name]) for name in ("sentence1", "sentence2"))
    similarities = np.asarray(first.multiply(second).sum(axis=1)).ravel()
    return {"spearman": float(spearmanr(similarities, rows["label"]).statistic)}


def fit_tfidf(splits: DatasetDict) -> TfidfVectorizer:
    """Fit tf-idf to the training sentences."""
    texts = [text for name in ("sent1", *ENDINGS) for text in splits["train"][name]]
    return TfidfVectorizer(sublinear_tf=True).fit(texts)


if __name__ == "__main__":
    main()
