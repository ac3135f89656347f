# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Distillation of encoders: the options, the texts, and the losses on the vectors of texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets, load_dataset
from torch import nn
from transformers import EvalPrediction

from .arguments import DataArguments, ModelArguments
from .data import check_columns, load_raw_datasets
from .encoder_targets import StoredTargets
from .errors import exit_on_error
from .trainer import LengthGroupedTrainer

TEXT_FORMATS = {".txt": "text", ".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


@dataclass
class EncoderDistillationArguments(DataArguments):
    """Which texts to read, which encoders to learn from, and by which losses."""

    text_files: list[str] = field(
        default_factory=list,
        metadata={"help": "Texts to train on, txt, csv, json or parquet, gzipped or not; mixed in proportion."},
    )
    text_column_name: str = field(default="text", metadata={"help": "The column of the texts."})
    teacher_model_name_or_path: list[str] = field(
        default_factory=list, metadata={"help": "Folders or Hub ids of encoders. The vectors of several are joined."}
    )
    targets_dir: str = field(
        default="targets", metadata={"help": "Where to keep the teachers' vectors, a folder for each teacher."}
    )
    max_seq_length: int = field(
        default=64, metadata={"help": "Truncate texts to this many tokens, for teachers and student."}
    )
    teacher_bf16: bool = field(default=False, metadata={"help": "Run the teachers in bfloat16."})
    table_only: bool = field(
        default=False, metadata={"help": "Train the token table alone, as static vectors: the layers stay new."}
    )
    layers_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of all but the token table. None: learning_rate."}
    )
    losses: list[str] = field(
        default_factory=lambda: ["cosine"],
        metadata={"help": "Losses to add up: cosine, mse, similarity (KL within the batch) or contrastive."},
    )
    loss_weights: list[float] | None = field(default=None, metadata={"help": "A weight for each loss. None: 1."})
    loss_temperature: float = field(
        default=0.05, metadata={"help": "What divides the cosines in the losses similarity and contrastive."}
    )

    def __post_init__(self) -> None:
        """Raise ValueError for values that are impossible or contradict each other."""
        super().__post_init__()
        if self.dataset_name and self.text_files:
            raise ValueError("--dataset_name and --text_files exclude each other")
        for file in self.text_files:
            if text_format(file) is None:
                raise ValueError(f"{file} should end in one of {', '.join(TEXT_FORMATS)}, and then in .gz if gzipped")
        if not self.teacher_model_name_or_path:
            raise ValueError("--teacher_model_name_or_path should name at least one encoder")
        for loss in self.losses:
            if loss not in LOSSES:
                raise ValueError(f"--losses has {loss}, but should be of {', '.join(LOSSES)}")
        if self.loss_weights is not None and len(self.loss_weights) != len(self.losses):
            raise ValueError(f"--loss_weights has {len(self.loss_weights)} values for {len(self.losses)} losses")
        if self.loss_temperature <= 0:
            raise ValueError(f"--loss_temperature is {self.loss_temperature}, but should be above 0")


def text_format(file: str) -> str | None:
    """Return what the datasets library calls the format of a file of texts, or `None` if it has none for it."""
    return TEXT_FORMATS.get(Path(file.removesuffix(".gz")).suffix)


# Texts


def read_texts(model_args: ModelArguments, data_args: EncoderDistillationArguments) -> Dataset:
    """Return the texts to train on, in a column `text`, such that the first N of them are a fair sample for any N.

    Raises:
        SystemExit: They cannot be read, or have no such column.
    """
    if data_args.text_files:
        sources = []
        for file in data_args.text_files:
            with exit_on_error(file):
                rows = load_dataset(
                    str(text_format(file)), data_files=file, split="train", cache_dir=model_args.cache_dir
                )
            sources.append(select_texts(file, rows, data_args.text_column_name))
        texts = mix_in_proportion(sources)
    else:
        texts = select_texts("train", load_train_split(model_args, data_args), data_args.text_column_name)
    return texts.take(min(len(texts), data_args.max_train_samples or len(texts)))


def load_train_split(model_args: ModelArguments, data_args: EncoderDistillationArguments) -> Dataset:
    """Load the dataset, of which only as many rows are downloaded as are needed, or else the documentation corpus."""
    if not (data_args.dataset_name and data_args.max_train_samples):
        return load_raw_datasets(model_args, data_args)["train"]
    stream = load_raw_datasets(model_args, data_args, streaming=True)["train"]
    with exit_on_error(data_args.dataset_name):
        return Dataset.from_list(list(stream.take(data_args.max_train_samples)))


def select_texts(source: str, rows: Dataset, column: str) -> Dataset:
    """Return the rows of a source that have a text, in a column `text` alone."""
    check_columns(source, [column], rows.column_names)
    rows = rows.select_columns([column]).rename_columns({column: "text"} if column != "text" else {})
    return rows.filter(
        lambda texts: [bool(text and text.strip()) for text in texts], input_columns="text", batched=True
    )


def mix_in_proportion(sources: Sequence[Dataset]) -> Dataset:
    """Join datasets so that each is spread evenly over the whole, in its own order."""
    places = np.concatenate([(np.arange(len(rows)) + 0.5) / max(len(rows), 1) for rows in sources])
    return concatenate_datasets(list(sources)).select(np.argsort(places, kind="stable"))


# The losses: functions of the student's vectors `(B, H)`, the targets `(B, H)` of length 1, and a temperature.


def cosine_loss(vectors: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """1 - cosine."""
    return 1 - nn.functional.cosine_similarity(vectors, targets).mean()


def mse_loss(vectors: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """The squared distance, which also teaches the length."""
    return (vectors - targets).square().sum(dim=1).mean()


def similarity_loss(vectors: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(targets || student) of how similar each text is to the others of the batch (softmax of cosines)."""
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    student, teacher = (
        nn.functional.log_softmax((side @ side.T / temperature).masked_fill(itself, -1e4), dim=1)
        for side in (nn.functional.normalize(vectors, dim=1), targets)
    )
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def contrastive_loss(vectors: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross entropy of finding the own target among those of the batch (van den Oord et al., arXiv:1807.03748)."""
    cosines = nn.functional.normalize(vectors, dim=1) @ targets.T
    return nn.functional.cross_entropy(cosines / temperature, torch.arange(len(vectors), device=vectors.device))


def mean_cosine(prediction: EvalPrediction) -> dict[str, float]:
    """Return the mean cosine of the student's vectors and the targets."""
    return {"cosine": float(np.mean(prediction.predictions))}


Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
LOSSES: dict[str, Loss] = {
    "cosine": cosine_loss,
    "mse": mse_loss,
    "similarity": similarity_loss,
    "contrastive": contrastive_loss,
}


class EncoderDistillationTrainer(LengthGroupedTrainer):
    """Trainer of an encoder whose rows have a `target`, the number of a row of the stored targets.

    Args:
        targets: The teachers' vectors.
        components: The directions that the student's dimensions stand for, `(E, H)`.
        data_args: The losses, and the learning rate of the layers.
        **kwargs: What Trainer takes.
    """

    def __init__(
        self, targets: StoredTargets, components: torch.Tensor, data_args: EncoderDistillationArguments, **kwargs: Any
    ):
        kwargs["args"].label_names = ["target"]  # so that Trainer passes them on, and computes the loss in evaluation
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False  # this loss is a mean over the batch
        self.targets, self.components, self.data_args = targets, components, data_args

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss, and the cosine of each text if the outputs are asked for."""
        rows = inputs.pop("target")
        vectors = model(**inputs).pooler_output.float()
        targets = self.targets[rows.cpu().numpy()].to(vectors.device) @ self.components.to(vectors.device)
        targets = nn.functional.normalize(targets, dim=1)
        weights = self.data_args.loss_weights or [1.0] * len(self.data_args.losses)
        losses = (LOSSES[name](vectors, targets, self.data_args.loss_temperature) for name in self.data_args.losses)
        loss = torch.stack([weight * value for weight, value in zip(weights, losses, strict=True)]).sum()
        outputs = {"cosine": nn.functional.cosine_similarity(vectors, targets)}
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return an optimizer whose learning rate is another one for the layers than for the token table."""
        network: Any = model or self.model
        optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, network)
        table = list(network.get_input_embeddings().parameters())
        others = [parameter for name, parameter in network.named_parameters() if "embed_tokens" not in name]
        rate = self.data_args.layers_learning_rate or self.args.learning_rate
        self.optimizer = optimizer_class([{"params": table}, {"params": others, "lr": rate}], **options)
        return self.optimizer
