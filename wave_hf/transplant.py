"""A token table that starts from an encoder: what it makes of each single token, as narrow as the network wants it.

    python -m wave_hf.transplant ENCODER OUT_DIR --config_name CONFIG

OUT_DIR then holds an untrained Wave Network with that table and the encoder's tokenizer, for
`examples/run_classification.py --model_name_or_path OUT_DIR` and all else that trains a checkpoint further.

What is done to the encoder's vectors follows model2vec (https://github.com/MinishLab/model2vec); weighting frequent
tokens down is Arora et al., "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", ICLR 2017.
"""

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    HfArgumentParser,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from .compression import prune_vocabulary
from .configuration_wave import WaveConfig
from .files import load_texts, new_folder
from .modeling_wave import WaveModel
from .streaming import special_tokens

BATCH_SIZE = 1024
SIF_COEFFICIENT = 1e-3  # a of a / (a + p): the middle of the range that Arora et al. recommend
TRAINING_ARGS = "training_args.json"  # the training defaults that lie beside the config of a recipe


@dataclass
class TransplantArguments:
    """The network that gets the table, and what happens to the vectors on their way."""

    config_name: str | None = field(
        default=None,
        metadata={"help": "Folder or Hub id of a Wave Network's config. None: one layer, as wide as the encoder."},
    )
    vectors: str = field(
        default="output",
        metadata={
            "help": "What stands for a token: the encoder's output for it, or its row in the encoder's table.",
            "choices": ["output", "table"],
        },
    )
    frequency_weights: bool = field(default=True, metadata={"help": "Make the vectors of frequent tokens short."})
    train_file: str | None = field(
        default=None,
        metadata={"help": "Texts that tokens are counted in, csv or json. None: the documentation corpus."},
    )
    vocab_size: int | None = field(
        default=None, metadata={"help": "Keep so many tokens, those that the training texts use most. None: all."}
    )
    seed: int = field(default=42, metadata={"help": "Seed of the weights that are not transplanted."})


def main() -> None:
    """Do what the command line asks for."""
    description = "Start the token table of a Wave Network from an encoder."
    parser = HfArgumentParser(TransplantArguments, prog="python -m wave_hf.transplant", description=description)  # type: ignore[arg-type]
    parser.add_argument("encoder", metavar="ENCODER", help="Folder or Hub id of an encoder and its tokenizer.")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="Folder to write: a new one, or an empty one.")
    args, folders = parser.parse_args_into_dataclasses()
    try:
        transplant(folders.encoder, folders.out_dir, **asdict(args))
    except (OSError, StrictDataclassError, TypeError, ValueError) as error:
        raise SystemExit(f"Transplant from {folders.encoder}: {' '.join(str(error).split())}") from error


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
    """Write an untrained Wave Network whose token table comes from an encoder; the folder appears when it is complete.

    Args:
        encoder: Folder or Hub id of an encoder of transformers or sentence-transformers.
        out_dir: Folder to write: a new one, or an empty one.
        config_name: Folder or Hub id of a Wave Network's config; its `vocab_size` and `pad_token_id` become those of
            the tokenizer. `None` means a single layer, as wide as the encoder. If it is a recipe, its training
            defaults (`training_args.json`) come along.
        vectors: What stands for a token: `"output"`, see `encode_tokens`, or `"table"`, the encoder's input embedding.
        frequency_weights: Whether to multiply the vectors by `sif_weights`.
        train_file: Rows with a column `text`, csv or json, in which tokens are counted for the weights and for
            `vocab_size`; `None` means the documentation corpus.
        vocab_size: The most tokens to keep (`prune_vocabulary`); `None` keeps all.
        seed: Seed of the other weights.

    Raises:
        FileExistsError: `out_dir` is not empty.
        OSError: A file of the encoder is missing.
        TypeError: `vocab_size` is given, but the tokenizer is none of WordPiece.
        ValueError: The config is of another network, the encoder is narrower than the table, or its tokenizer has no
            padding token or more tokens than the encoder has vectors.
    """
    with new_folder(out_dir) as folder:
        config = None if config_name is None else AutoConfig.from_pretrained(config_name)
        if config is not None and not isinstance(config, WaveConfig):
            raise ValueError(
                f"config_name is {config_name}, of a {config.model_type}, but should be of a {WaveConfig.model_type}."
            )
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        model = AutoModel.from_pretrained(encoder, dtype=torch.float32).eval()
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
        if config_name is not None and Path(config_name, TRAINING_ARGS).exists():
            shutil.copy(Path(config_name, TRAINING_ARGS), folder)


def token_vectors(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vectors: str) -> torch.Tensor:
    """Return a vector for each token, `(len(tokenizer), E)`; see `transplant`."""
    if tokenizer.pad_token_id is None:
        raise ValueError("the tokenizer has no padding token.")
    embedding: Any = model.get_input_embeddings()
    table = embedding.weight.detach()
    if len(tokenizer) > len(table):
        raise ValueError(f"the tokenizer has {len(tokenizer)} tokens, but the encoder's table only {len(table)} rows.")
    return encode_tokens(model, tokenizer) if vectors == "output" else table[: len(tokenizer)]


@torch.inference_mode()
def encode_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Return what an encoder makes of each token by itself: the mean of its output for the token as a whole text.

    Args:
        model: The encoder, in eval mode.
        tokenizer: Its tokenizer; the special tokens that it puts around a text are put around each token.

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
    """Centre vectors `(N, E)`, and keep their `width` principal components: `(N, width)`, the largest first.

    Raises:
        ValueError: `width` exceeds E.
    """
    if width > vectors.shape[1]:
        raise ValueError(
            f"the token table is to be {width} wide (embedding_size, or else hidden_size), but the encoder's vectors "
            f"have only {vectors.shape[1]} dimensions."
        )
    centred = vectors - vectors.mean(dim=0)
    # The eigenvectors of the covariance, the largest eigenvalue last; in double, as squares are taken.
    components = torch.linalg.eigh(centred.T.double() @ centred.double()).eigenvectors.flip(1)[:, :width]
    return centred @ components.to(centred.dtype)


def token_frequencies(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> torch.Tensor:
    """Return the share of each token in all tokens of the texts, `(len(tokenizer),)`."""
    ids = chain.from_iterable(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts)
    counts = torch.bincount(torch.tensor(list(ids)), minlength=len(tokenizer))
    return counts / counts.sum()


def sif_weights(probabilities: torch.Tensor) -> torch.Tensor:
    """A / (a + p), the smooth inverse frequency (Arora et al., 2017): 1 for rare tokens, near 0 for frequent ones."""
    return SIF_COEFFICIENT / (SIF_COEFFICIENT + probabilities)


@torch.no_grad()
def plant(model: WaveModel, table: torch.Tensor) -> None:
    """Copy a table `(vocab_size, E)` into a network, scaled to its usual initial size, with zeros for padding.

    That size, `initializer_range`, decides how much of the table training keeps: AdamW's steps do not grow with it.
    """
    rows: Any = model.embed_tokens
    rows.weight.copy_(table * (model.config.initializer_range / table.square().mean().sqrt()))
    if rows.padding_idx is not None:
        rows.weight[rows.padding_idx] = 0


if __name__ == "__main__":
    main()
