# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The predictors that `benchmark.py --measure predictions` compares, each as its users call it.

This file is also the program that measures one of them:

    python predictors.py NAME FOLDER SECONDS_SINCE_1970_AT_THE_START < job.json

It imports nothing of wave_hf, and each predictor imports only what its users need, so that the memory and the time to
the first prediction are its own. `preparation.py` writes the folders.
"""

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FIRST_TEXT = "The first text that a new process labels."

# What a padded batch holds at most, unless a single text has more tokens.
BATCH_TEXTS, BATCH_TOKENS = 64, 16_384


class Predictor:
    """A trained classifier; subclasses load it from a folder."""

    def warm_up(self) -> None:
        """Do what a server does before it serves."""

    def tokenize(self, texts: list[str]) -> Any:
        """Do the part of `predict` that depends only on the tokenizer."""
        raise NotImplementedError

    def predict(self, texts: list[str]) -> list[str]:
        """Return the labels of texts."""
        raise NotImplementedError


class Folded(Predictor):
    """A folded network, with the file in its folder."""

    def __init__(self, folder: Path, num_threads: int):
        sys.path.insert(0, str(folder))
        from folded_wave import FoldedWave

        self.model = FoldedWave.load(folder, num_threads)

    def warm_up(self) -> None:
        """Load the machine code."""
        self.model.compile()

    def tokenize(self, texts: list[str]) -> Any:
        """Return the tokens of each block."""
        return list(self.model.map_blocks(self.model.tokenizer, texts))

    def predict(self, texts: list[str]) -> list[str]:
        """Return the labels of texts."""
        return self.model.predict(texts)


class PaddedPredictor(Predictor):
    """A network that reads padded batches of texts of similar length; subclasses compute the scores of a batch."""

    def __init__(self, folder: Path):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()

    def tokenize(self, texts: list[str]) -> Any:
        """Return the encodings of texts."""
        return self.tokenizer.encode_batch_fast(texts)

    def compute_rows(self, texts: list[str]) -> Any:
        """Return the scores of texts, in their order."""
        import numpy as np

        encodings = self.tokenize(texts)
        lengths = np.array([len(encoding) for encoding in encodings])
        order = lengths.argsort(kind="stable")
        scores = []
        for rows in batches(order, lengths):
            mask = np.arange(lengths[rows].max()) < lengths[rows, None]
            input_ids = np.zeros(mask.shape, np.int64)
            input_ids[mask] = np.concatenate([encodings[row].ids for row in rows])
            scores.append(self.compute_batch(input_ids, mask.astype(np.int64)))
        return np.concatenate(scores)[order.argsort()]

    def compute_batch(self, input_ids: Any, attention_mask: Any) -> Any:
        """Return the scores of a batch: of its labels, `(B, num_labels)`, or whatever a subclass reads them from."""
        raise NotImplementedError


def batches(order: Any, lengths: Any) -> Iterator[Any]:
    """Yield the rows of each batch, from the shortest texts to the longest."""
    start = 0
    while start < len(order):
        stop = start + 1
        while (
            stop < min(len(order), start + BATCH_TEXTS) and (stop + 1 - start) * lengths[order[stop]] <= BATCH_TOKENS
        ):
            stop += 1
        yield order[start:stop]
        start = stop


class Network(PaddedPredictor):
    """A Wave Network, whose scores are logits."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.labels = read_labels(folder)

    def predict(self, texts: list[str]) -> list[str]:
        """Return the labels of texts."""
        return [self.labels[label] for label in self.compute_rows(texts).argmax(axis=1)]


class PyTorch(Network):
    """A Wave Network in PyTorch."""

    def __init__(self, folder: Path, num_threads: int):
        import torch

        import wave_hf

        super().__init__(folder)
        torch.set_num_threads(num_threads)
        self.model = wave_hf.WaveForSequenceClassification.from_pretrained(folder).eval()

    def compute_batch(self, input_ids: Any, attention_mask: Any) -> Any:
        """Return the logits."""
        import torch

        with torch.inference_mode():
            return self.model(torch.from_numpy(input_ids), torch.from_numpy(attention_mask)).logits.numpy()


class Onnx(Network):
    """A Wave Network in onnxruntime."""

    def __init__(self, folder: Path, num_threads: int):
        super().__init__(folder)
        self.session = open_session(folder, num_threads)
        self.names = [node.name for node in self.session.get_inputs()]

    def compute_batch(self, input_ids: Any, attention_mask: Any) -> Any:
        """Return the logits."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": 0 * input_ids}
        return self.session.run(["logits"], {name: inputs[name] for name in self.names})[0]


class Encoder(PaddedPredictor):
    """A logistic regression on the mean token vectors of a Transformer, of the length 1."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.classifier = load_classifier(folder)

    def embed(self, texts: list[str]) -> Any:
        """Return the vectors of texts, `(B, H)`."""
        import numpy as np

        vectors = self.compute_rows(texts)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def predict(self, texts: list[str]) -> list[str]:
        """Return the labels of texts."""
        return self.classifier.predict(self.embed(texts)).tolist()


class EncoderBfloat16(Encoder):
    """An encoder in PyTorch, in bfloat16."""

    def __init__(self, folder: Path, num_threads: int):
        import torch
        from transformers import AutoModel

        super().__init__(folder)
        torch.set_num_threads(num_threads)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def compute_batch(self, input_ids: Any, attention_mask: Any) -> Any:
        """Return the mean token vectors."""
        import torch

        mask = torch.from_numpy(attention_mask)
        with torch.inference_mode():
            states = self.model(torch.from_numpy(input_ids), mask).last_hidden_state.float()
        return ((states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)).numpy()


class EncoderOnnx(Encoder):
    """An encoder in onnxruntime."""

    def __init__(self, folder: Path, num_threads: int):
        super().__init__(folder)
        self.session = open_session(folder, num_threads)

    def compute_batch(self, input_ids: Any, attention_mask: Any) -> Any:
        """Return the mean token vectors."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        (states,) = self.session.run(["last_hidden_state"], inputs)
        return (states * attention_mask[:, :, None]).sum(axis=1) / attention_mask.sum(axis=1, keepdims=True)


class FastText(Predictor):
    """fastText's classifier, whose texts are split into lower-case words and punctuation marks, as in training."""

    def __init__(self, folder: Path, num_threads: int):
        import fasttext

        self.model = fasttext.load_model(str(folder / "model.bin"))
        self.labels = read_labels(folder)

    def tokenize(self, texts: list[str]) -> list[str]:
        """Return the words of texts, separated by spaces."""
        return [split_words(text) for text in texts]

    def predict(self, texts: list[str]) -> list[str]:
        """Return the labels of texts."""
        predicted, _ = self.model.predict(self.tokenize(texts))
        return [self.labels[int(best.rpartition(":")[2])] for (best,) in predicted]


class Tfidf(Predictor):
    """A logistic regression on the tf-idf of words."""

    def __init__(self, folder: Path, num_threads: int):
        self.pipeline = load_classifier(folder)
        self.analyze = self.pipeline[0].build_analyzer()

    def tokenize(self, texts: list[str]) -> list[list[str]]:
        """Return the words of texts."""
        return [self.analyze(text) for text in texts]

    def predict(self, texts: list[str]) -> list[str]:
        """Return the labels of texts."""
        return self.pipeline.predict(texts).tolist()


class Model2Vec(Predictor):
    """A logistic regression on the static vectors of model2vec."""

    def __init__(self, folder: Path, num_threads: int):
        from model2vec import StaticModel

        self.model = StaticModel.from_pretrained(folder)
        self.classifier = load_classifier(folder)

    def tokenize(self, texts: list[str]) -> Any:
        """Return the ids of the tokens."""
        return self.model.tokenize(texts)

    def embed(self, texts: list[str]) -> Any:
        """Return the vectors of texts, `(B, H)`, of which no token is cut off."""
        return self.model.encode(texts, max_length=None)

    def predict(self, texts: list[str]) -> list[str]:
        """Return the labels of texts."""
        return self.classifier.predict(self.embed(texts)).tolist()


PREDICTORS: dict[str, Callable[[Path, int], Predictor]] = {
    "folded-float32": Folded,
    "folded-int8": Folded,
    "onnx-float32": Onnx,
    "onnx-int8": Onnx,
    "pytorch": PyTorch,
    "fasttext-words": FastText,
    "fasttext-pairs": FastText,
    "tfidf-words": Tfidf,
    "model2vec": Model2Vec,
    "encoder-bfloat16": EncoderBfloat16,
    "encoder-onnx-int8": EncoderOnnx,
}


def split_words(text: str) -> str:
    """Return the lower-case words and punctuation marks of a text, separated by spaces."""
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


def read_labels(folder: Path) -> list[str]:
    """Return the names of the labels in the order of their ids."""
    id2label = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
    return [id2label[str(label)] for label in range(len(id2label))]


def open_session(folder: Path, num_threads: int) -> Any:
    """Open model.onnx."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    return onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])


def load_classifier(folder: Path) -> Any:
    """Load a classifier of scikit-learn; `None` if there is none yet."""
    import joblib

    file = folder / "classifier.joblib"
    return joblib.load(file) if file.exists() else None


def measure(predictor: Predictor, texts: list[str], steps: int, seconds: float) -> dict[str, float]:
    """Return the median seconds of tokenizing texts and of predicting their labels, after a warm-up."""

    def seconds_of(action: Callable[[list[str]], Any]) -> float:
        start = time.perf_counter()
        action(texts)
        return time.perf_counter() - start

    predictor.predict(texts)
    turns: list[tuple[float, float]] = []
    while len(turns) < steps or sum(map(sum, turns)) < seconds:
        turns.append((seconds_of(predictor.tokenize), seconds_of(predictor.predict)))
    tokenizing, predicting = map(statistics.median, zip(*turns, strict=True))
    return {"tokenize_s": tokenizing, "predict_s": predicting}


def main() -> None:
    """Measure the predictor that the command line names, and print the result as json."""
    name, folder, start = sys.argv[1:]
    predictor = PREDICTORS[name](Path(folder), int(os.environ["OMP_NUM_THREADS"]))
    predictor.predict([FIRST_TEXT])
    first_prediction = time.time() - float(start)
    predictor.warm_up()
    job = json.load(sys.stdin)
    labels = predictor.predict(job["rows"])
    texts_of = job["texts"].items()
    times = {length: measure(predictor, texts, job["steps"], job["seconds"]) for length, texts in texts_of}

    import psutil  # here, because its memory and time are not the predictor's

    memory = psutil.Process().memory_info().rss / 2**20
    print(json.dumps({"first_prediction_s": first_prediction, "labels": labels, "memory_mb": memory, "times": times}))


if __name__ == "__main__":
    main()
