"""Making the token table smaller, which is nearly the whole of a small Wave Network.

Both ways need no training and return an ordinary model that saves, loads and trains like any other.
"""

import copy
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import BertTokenizer, PreTrainedTokenizerBase

from .modeling_wave import WavePreTrainedModel

Model = TypeVar("Model", bound=WavePreTrainedModel)


def prune_vocabulary(
    model: Model, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], vocab_size: int
) -> tuple[Model, BertTokenizer]:
    """Keep the tokens that texts use most, and split the words of all others into those.

    Special tokens and single characters always stay, so that a word that has lost its token is still spelt out. The
    other tokens of such a word were trained less, or not at all, to stand for it, which costs accuracy; a text of kept
    tokens alone gets exactly the logits that it had. Tokens keep their order.

    Args:
        model: Left as it is.
        tokenizer: Its tokenizer, of WordPiece such as `train_tokenizer` makes. Left as it is.
        texts: What the tokens are counted in, best the texts that the model was trained on.
        vocab_size: The most tokens that stay. Fewer do if `texts` uses fewer.

    Returns:
        A copy of the model whose table has only the rows of the kept tokens, and the tokenizer of these.

    Raises:
        TypeError: The tokenizer is of another kind.
        ValueError: `vocab_size` has no room for the tokens that always stay.
    """
    if not isinstance(tokenizer, BertTokenizer):
        raise TypeError(
            f"tokenizer is a {type(tokenizer).__name__}, but should be a BertTokenizer: only WordPiece can lose any "
            "token and still spell all words."
        )
    vocabulary = tokenizer.get_vocab()
    kept = [
        token for token in vocabulary if token in tokenizer.all_special_tokens or len(token.removeprefix("##")) == 1
    ]
    if vocab_size < len(kept):
        raise ValueError(
            f"vocab_size is {vocab_size}, but should be at least {len(kept)}, the number of special tokens and single "
            "characters."
        )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).tokens)
    others = [token for token, _ in counts.most_common() if token not in kept]
    kept = sorted(kept + others[: vocab_size - len(kept)], key=vocabulary.__getitem__)
    rows = [vocabulary[token] for token in kept]

    vocab = {token: row for row, token in enumerate(kept)}
    # What the tokenizer was made with, but for the ids that it would otherwise restore.
    options = {name: value for name, value in tokenizer.init_kwargs.items() if name != "added_tokens_decoder"}
    pruned_tokenizer = type(tokenizer)(**(options | {"vocab": vocab}))
    if truncation := tokenizer.backend_tokenizer.truncation:
        pruned_tokenizer.backend_tokenizer.enable_truncation(**truncation)
    pruned = copy.deepcopy(model)
    pruned.config.vocab_size = len(kept)
    pad = model.config.pad_token_id
    pruned.config.pad_token_id = rows.index(pad) if pad in rows else None
    table: Any = model.get_input_embeddings()
    pruned.set_input_embeddings(_embedding(table.weight[rows], pruned.config.pad_token_id))
    return pruned, pruned_tokenizer


def factorize_embeddings(model: Model, embedding_size: int) -> Model:
    """Give the token table fewer columns, and a linear map that widens them again.

    Of all tables of that width it takes the one with the smallest sum of squared errors in what the first layer makes
    of the tokens, its two variants: the truncated singular value decomposition of table times `variants`. Tables of
    positions and token types are reduced to the same columns.

    Args:
        model: Left as it is.
        embedding_size: Width of the new table: `config.embedding_size` of the new model.

    Returns:
        A copy of the model with narrower tables and a new `embed_proj`.

    Raises:
        ValueError: The table is no wider than `embedding_size`.
    """
    factorized = copy.deepcopy(model)
    wave: Any = factorized.base_model
    width = wave.embed_tokens.embedding_dim
    if not 1 <= embedding_size < width:
        raise ValueError(
            f"embedding_size is {embedding_size}, but should be at least 1 and below {width}, the width now."
        )
    hidden_size = factorized.config.hidden_size
    with torch.no_grad():
        to_hidden = wave.embed_proj.weight.T if factorized.config.embedding_size else torch.eye(width)
        bias = wave.embed_proj.bias if factorized.config.embedding_size else torch.zeros(hidden_size)
        to_variants = wave.layers[0].mixer.variants.weight.T
        to_both = to_hidden @ to_variants
        columns = torch.linalg.svd(wave.embed_tokens.weight @ to_both, full_matrices=False).Vh[:embedding_size]
        for name in ("embed_tokens", "embed_positions", "embed_token_types"):
            if (table := getattr(wave, name)) is not None:
                setattr(wave, name, _embedding(table.weight @ to_both @ columns.T, table.padding_idx))
        wave.embed_proj = nn.Linear(embedding_size, hidden_size)
        # The columns are of the two variants; what gives them there is their least squares solution here.
        wave.embed_proj.weight.copy_((columns @ torch.linalg.pinv(to_variants)).T)
        wave.embed_proj.bias.copy_(bias)
    factorized.config.embedding_size = embedding_size
    return factorized


def _embedding(rows: torch.Tensor, padding_idx: int | None) -> nn.Embedding:
    return nn.Embedding.from_pretrained(rows.detach().clone(), freeze=False, padding_idx=padding_idx)
