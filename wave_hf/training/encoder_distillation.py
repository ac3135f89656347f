# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Distillation of encoders: the texts, the student's first token table, and the losses on sentence vectors."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets, load_dataset
from safetensors import torch as safetensors
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn
from transformers import EvalPrediction, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from ..files import writing
from ..transplant import plant, sif_weights, token_frequencies
from .arguments import DataArguments, ModelArguments
from .data import check_columns, length_options, load_file, load_raw_datasets, map_options
from .encoder_targets import EncoderTeacher, StoredTargets, principal_components
from .errors import exit_on_error
from .trainer import LengthGroupedTrainer
from .word_order_probe import negation_triples, triple_accuracy, word_order_triples

logger = logging.getLogger(__name__)

PAIR = ("sentence1", "sentence2")
TEXT_FORMATS = {".txt": "text", ".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
PCA_ROWS = 100_000  # targets that the principal components are computed from
COUNTED_TEXTS = 200_000  # texts that the tokens are counted in
EVAL_TEXTS = 2000  # the most texts to hold out, unless --max_eval_samples says otherwise
PROBE_TEXTS, PROBE_TRIPLES = 100_000, 500  # where the probe's sentences come from, and the triples of each kind
COMPONENTS_NAME = "target_components.safetensors"
UPDATE_SHARE = 0.3  # how large the update of a new layer is, as a share of the token vectors
MAX_TOKENS = 512  # what sentence-transformers cuts texts at, unless its user sets another length


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


# Teachers and student


def load_encoder_teachers(
    model_args: ModelArguments, data_args: EncoderDistillationArguments, training_args: TrainingArguments
) -> list[EncoderTeacher]:
    """Load the teachers."""
    options = replace(model_args, model_revision="main").hub_options  # the revision is the student's
    options["cache_folder"] = options.pop("cache_dir")
    return [
        EncoderTeacher(
            name,
            data_args.max_seq_length,
            training_args.per_device_eval_batch_size,
            data_args.teacher_bf16,
            training_args.device,
            **options,
        )
        for name in data_args.teacher_model_name_or_path
    ]


def load_components(model_args: ModelArguments, targets: StoredTargets, width: int) -> torch.Tensor:
    """Return the directions that the student's dimensions stand for, `(E, width)`: the checkpoint's, or new ones.

    Raises:
        SystemExit: The checkpoint learnt from vectors of another width, or `width` exceeds that of the targets.
    """
    size = targets[np.arange(1)].shape[1]
    file = Path(model_args.model_name_or_path or "", COMPONENTS_NAME)
    if model_args.model_name_or_path is None or not file.exists():
        return principal_components(targets[np.arange(min(PCA_ROWS, len(targets)))], width)
    with exit_on_error(str(file)):
        components = safetensors.load_file(file)["components"]
    if components.shape != (size, width):
        raise SystemExit(f"{file} is for vectors of {components.shape[0]} dimensions, but the teachers' have {size}")
    return components


def tokenize_texts(
    texts: Dataset, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, data_args: DataArguments
) -> dict[str, Dataset]:
    """Return the token ids of the texts, and which row of the targets is theirs; the last texts are for evaluation."""
    options = length_options(tokenizer, config, data_args)
    rows = texts.map(lambda batch: tokenizer(batch["text"], **options), **map_options(texts, data_args))
    rows = rows.add_column("target", np.arange(len(rows)))
    held_out = min(data_args.max_eval_samples or EVAL_TEXTS, len(rows) // 20)
    return {
        "train": rows.select(range(len(rows) - held_out)),
        "validation": rows.select(range(len(rows) - held_out, len(rows))),
    }


def plant_teacher_tokens(
    network: Any,
    tokenizer: PreTrainedTokenizerBase,
    teachers: Sequence[EncoderTeacher],
    components: torch.Tensor,
    texts: Sequence[str],
) -> None:
    """Start the token table from the teachers' vectors of single tokens, those of frequent tokens short.

    Args:
        network: A new network.
        tokenizer: Its tokenizer, of any kind.
        teachers: The teachers.
        components: The directions that the student's dimensions stand for, `(E, H)`, see `principal_components`.
        texts: Texts to count the tokens in.
    """
    tokens = [str(tokenizer.decode([token])).removeprefix("##").strip() for token in range(len(tokenizer))]
    vectors = torch.from_numpy(np.concatenate([teacher.encode(tokens) for teacher in teachers], axis=1)).float()
    weights = sif_weights(token_frequencies(tokenizer, texts[:COUNTED_TEXTS]))
    width = network.embed_tokens.embedding_dim
    plant(network, (vectors - vectors.mean(dim=0)) @ components[:, :width] * weights.unsqueeze(1))


@torch.no_grad()
def shrink_updates(network: Any, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
    """Let new layers start as a small addition to the trained token vectors, which they would drown otherwise."""
    ids = torch.tensor([id for ids in tokenizer(texts[:COUNTED_TEXTS])["input_ids"] for id in ids])
    size = network.embed(network.look_up(ids.unique().unsqueeze(0))).square().mean().sqrt()
    for layer in network.layers:
        if layer.update_norm is not None:
            layer.update_norm.weight.fill_(UPDATE_SHARE * size)


def save_encoder(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, components: torch.Tensor, folder: Path
) -> SentenceTransformer:
    """Save a student for transformers and for sentence-transformers, whose vector of a text is its `pooler_output`."""
    with TemporaryDirectory() as copy:
        model.save_pretrained(copy)
        tokenizer.save_pretrained(copy)
        module = Transformer(
            copy,
            modality_config={"text": {"method": "forward", "method_output_name": "pooler_output"}},
            module_output_name="sentence_embedding",
            processor_kwargs={"model_max_length": MAX_TOKENS},
        )
    encoder = SentenceTransformer(modules=[module], device=str(model.device))
    encoder.save(str(folder), create_model_card=False)
    # The library takes the limit of the config as a number, and a Wave Network has none.
    options = folder / "sentence_bert_config.json"
    settings = json.loads(options.read_text(encoding="utf-8")) | {"max_seq_length": MAX_TOKENS}
    with writing(options) as stream:
        json.dump(settings, stream, indent=2)
    safetensors.save_file({"components": components.contiguous()}, folder / COMPONENTS_NAME)
    return encoder


def evaluate_encoder(
    encoder: SentenceTransformer, texts: Dataset, data_args: EncoderDistillationArguments
) -> dict[str, float]:
    """Return how an encoder does on the probe of word order and negation, and on --validation_file if it is given."""
    sentences = texts["text"][-PROBE_TEXTS:]
    probes = {"word_order": word_order_triples(sentences), "negation": negation_triples(sentences)}
    metrics = {}
    for name, triples in probes.items():
        if chosen := list(islice(triples, PROBE_TRIPLES)):
            metrics[f"eval_{name}_accuracy"] = triple_accuracy(encoder.encode, chosen)
    if data_args.validation_file:
        pairs = load_file(data_args.validation_file)
        check_columns("validation", [*PAIR, "label"], pairs.column_names)
        first, second, scores = (pairs[name][:] for name in (*PAIR, "label"))
        evaluate = EmbeddingSimilarityEvaluator(first, second, scores, write_csv=False)
        metrics |= {f"eval_{name}": value for name, value in evaluate(encoder).items()}
    return metrics


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
