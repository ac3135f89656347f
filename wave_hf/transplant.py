"""Transplantation of token vectors: an untrained Wave Network whose token table comes from an encoder.

    python -m wave_hf.transplant ENCODER OUT_DIR --config_name wave-small

OUT_DIR then holds the network and the encoder's tokenizer, to be trained with
`examples/run_classification.py --model_name_or_path OUT_DIR` or any other script that starts from a checkpoint.

The token vectors are made as in model2vec (https://github.com/MinishLab/model2vec); frequent tokens are weighted down
as in Arora et al., "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", ICLR 2017.
"""

import pickle
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    HfArgumentParser,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from .compression import prune_vocabulary
from .configuration_wave import WaveConfig
from .files import new_folder
from .modeling_wave import WaveModel
from .recipes import TRAINING_ARGS_NAME, find_recipe
from .streaming import special_tokens
from .tokenization import check_tokenizer_fits, load_saved_tokenizer
from .training.checks import check_numbers
from .training.errors import exit_on_error
from .training.readers import load_texts

BATCH_SIZE = 1024
SIF_COEFFICIENT = 1e-3  # a in a / (a + p): the middle of the range that Arora et al. recommend


@dataclass
class TransplantArguments:
    """Options of the network and of the token vectors."""

    config_name: str | None = field(
        default=None,
        metadata={"help": "Recipe, folder or Hub id of the config. None: one layer, as wide as the encoder."},
    )
    vectors: str = field(
        default="output",
        metadata={
            "help": "Vector of a token: the encoder's output for it, or its row of the encoder's table.",
            "choices": ["output", "table"],
        },
    )
    frequency_weights: bool = field(default=True, metadata={"help": "Weight the vectors of frequent tokens down."})
    train_file: str | None = field(
        default=None,
        metadata={"help": "Texts to count tokens in, csv or json. None: the documentation corpus."},
    )
    vocab_size: int | None = field(
        default=None, metadata={"help": "Keep this many of the most frequent tokens of the training texts. None: all."}
    )
    seed: int = field(default=42, metadata={"help": "Seed of the other weights."})


def main() -> None:
    """Parse the command line and write the network."""
    description = "Write an untrained Wave Network whose token table comes from an encoder."
    parser = HfArgumentParser(TransplantArguments, prog="python -m wave_hf.transplant", description=description)  # type: ignore[arg-type]
    parser.add_argument("encoder", metavar="ENCODER", help="Folder or Hub id of an encoder and its tokenizer.")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="Output folder, new or empty.")
    args, folders = parser.parse_args_into_dataclasses()
    with exit_on_error(f"Transplant from {folders.encoder}"):
        check_numbers(args)
        transplant(folders.encoder, folders.out_dir, **asdict(args))


def transplant(
    encoder: str,
    out_dir: str | Path,
    config_name: str | None = None,
    vectors: str = "output",
    frequency_weights: bool = True,
    train_file: str | None = None,
    vocab_size: int | None = None,
    seed: int = 42,
) -> None:
    """Write an untrained Wave Network whose token table comes from an encoder to a new folder, atomically.

    Args:
        encoder: Folder or Hub id of an encoder of transformers or sentence-transformers.
        out_dir: Output folder, new or empty.
        config_name: Recipe, folder or Hub id of a Wave Network's config, whose `vocab_size` and `pad_token_id` are
            replaced by those of the tokenizer. `None` means a single layer, as wide as the encoder. The training
            defaults beside the config, such as those of a recipe, are copied to `out_dir`.
        vectors: Vector of a token: `"output"`, see `encode_tokens`, or `"table"`, the encoder's input embedding.
        frequency_weights: Whether to multiply the vectors by `sif_weights`.
        train_file: Rows with a column `text`, csv or json, whose tokens are counted for the weights and for
            `vocab_size`; `None` means the documentation corpus.
        vocab_size: Largest number of tokens to keep, see `prune_vocabulary`; `None` keeps all.
        seed: Seed of the other weights.

    Raises:
        FileExistsError: `out_dir` is not empty.
        OSError: A file of the encoder is missing.
        TypeError: `vocab_size` is given, but the tokenizer is not a WordPiece tokenizer.
        ValueError: The config is not that of a Wave Network, the encoder is narrower than the table, or its tokenizer
            has no padding token or more tokens than the encoder has vectors.
    """
    source = None if config_name is None else str(find_recipe(config_name) or config_name)
    with new_folder(out_dir) as folder:
        config = None if source is None else load_wave_config(source)
        tokenizer = load_saved_tokenizer(encoder)
        model = load_encoder(encoder)
        texts = load_texts(train_file) if frequency_weights or vocab_size is not None else []
        table = token_vectors(model, tokenizer, vectors)
        config = config or WaveConfig(hidden_size=table.shape[1])
        fields = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        config = WaveConfig.from_dict(config.to_dict() | fields)

        table = reduce_width(table, config.embedding_size or config.hidden_size)
        if frequency_weights:
            table = table * sif_weights(token_frequencies(tokenizer, texts)).unsqueeze(1)
        set_seed(seed)
        network = WaveModel(config)
        plant(network, table)
        if vocab_size is not None:
            network, tokenizer = prune_vocabulary(network, tokenizer, texts, vocab_size)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if source is not None and Path(source, TRAINING_ARGS_NAME).exists():
            shutil.copy(Path(source, TRAINING_ARGS_NAME), folder)


def load_wave_config(config_name: str) -> WaveConfig:
    """Load the config of a Wave Network, or raise ValueError if it is that of another network."""
    config = AutoConfig.from_pretrained(config_name, trust_remote_code=False)
    if not isinstance(config, WaveConfig):
        raise ValueError(
            f"the model_type of {config_name} is {config.model_type!r}, but should be {WaveConfig.model_type!r}."
        )
    return config


def load_encoder(name: str) -> PreTrainedModel:
    """Load an encoder in evaluation mode and float32, or raise ValueError if its weights may run code."""
    try:
        return AutoModel.from_pretrained(name, dtype=torch.float32, trust_remote_code=False).eval()
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{name}: the weights are a pickle of more than tensors, but should be tensors, best of all in "
            "model.safetensors."
        ) from error


def token_vectors(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vectors: str) -> torch.Tensor:
    """Return the vector of each token, `(len(tokenizer), E)`; see `transplant`."""
    if tokenizer.pad_token_id is None:
        raise ValueError("the tokenizer of the encoder has no padding token, but should have one.")
    check_tokenizer_fits(tokenizer, model.config, "the encoder")
    if vectors == "output":
        return encode_tokens(model, tokenizer)
    embedding: Any = model.get_input_embeddings()
    return embedding.weight.detach()[: len(tokenizer)]


@torch.inference_mode()
def encode_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Encode each token as a text of its own, and return the mean of the encoder's output over that text.

    Args:
        model: The encoder, in evaluation mode.
        tokenizer: Its tokenizer, whose special tokens are added around each token.

    Returns:
        `(len(tokenizer), E)` in the order of the ids, in the dtype of the encoder.
    """
    before, after = special_tokens(tokenizer)
    outputs = []
    for ids in torch.arange(len(tokenizer)).split(BATCH_SIZE):
        around = [torch.tensor(special, dtype=torch.long).expand(len(ids), -1) for special in (before, after)]
        input_ids = torch.cat((around[0], ids.unsqueeze(1), around[1]), dim=1).to(model.device)
        outputs.append(model(input_ids=input_ids).last_hidden_state.mean(dim=1))
    return torch.cat(outputs)


def reduce_width(vectors: torch.Tensor, width: int) -> torch.Tensor:
    """Center vectors `(N, E)` and project them onto their first `width` principal components: `(N, width)`.

    Raises:
        ValueError: `width` exceeds E.
    """
    if width > vectors.shape[1]:
        raise ValueError(
            f"the token table is {width} wide (embedding_size, or else hidden_size), but should be at most as wide as "
            f"the encoder's vectors, {vectors.shape[1]}."
        )
    centered = vectors - vectors.mean(dim=0)
    return centered @ main_directions(centered, width)


def main_directions(centered: torch.Tensor, width: int) -> torch.Tensor:
    """Return the directions in which vectors `(N, E)` of mean zero vary most, `(E, width)`, the first one most."""
    # Eigenvectors of the covariance, in float64 because it has squares; eigh sorts the eigenvalues in ascending order.
    directions = torch.linalg.eigh(centered.T.double() @ centered.double()).eigenvectors.flip(1)
    return directions[:, :width].to(centered.dtype)


def token_frequencies(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> torch.Tensor:
    """Return the relative frequency of each token in the texts, `(len(tokenizer),)`."""
    ids = chain.from_iterable(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts)
    counts = torch.bincount(torch.tensor(list(ids)), minlength=len(tokenizer))
    return counts / counts.sum()


def sif_weights(probabilities: torch.Tensor) -> torch.Tensor:
    """Return a / (a + p), the smooth inverse frequency (Arora et al., 2017): near 0 for frequent tokens."""
    return SIF_COEFFICIENT / (SIF_COEFFICIENT + probabilities)


@torch.no_grad()
def plant(model: WaveModel, table: torch.Tensor) -> None:
    """Copy a table `(vocab_size, E)` into a network, scaled to a standard deviation of `initializer_range`.

    The scale controls how much of the table survives training, because AdamW's steps do not grow with it. The row of
    the padding token is set to zero.
    """
    rows: Any = model.embed_tokens
    rows.weight.copy_(table * (model.config.initializer_range / table.square().mean().sqrt()))
    if rows.padding_idx is not None:
        rows.weight[rows.padding_idx] = 0


if __name__ == "__main__":
    main()
