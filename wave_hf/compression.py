"""Compression of the token table, which holds most of the parameters of a small Wave Network.

Both functions need no training and return an ordinary model, which can be saved, loaded and trained further.
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
    """Keep only the most frequent tokens; words of other tokens are split into kept ones.

    Special tokens and single characters are always kept, so that every word can still be spelled out. The pieces of a
    split word have been trained less to represent it, which costs accuracy. The logits of a text that contains only
    kept tokens stay exactly the same. Tokens keep their order.

    Args:
        model: A model, which is not changed.
        tokenizer: Its WordPiece tokenizer, such as `train_tokenizer` returns, which is not changed.
        texts: Texts to count the tokens in, ideally the training texts of the model.
        vocab_size: Largest number of tokens to keep. Tokens that `texts` does not use are dropped in any case.

    Returns:
        A copy of the model whose token table, and language modelling head if it has one, have only the rows of the
        kept tokens, and a tokenizer of these tokens.

    Raises:
        TypeError: The tokenizer is not a WordPiece tokenizer.
        ValueError: `vocab_size` is smaller than the number of special tokens and single characters.
    """
    if not isinstance(tokenizer, BertTokenizer):
        raise TypeError(
            f"tokenizer is a {type(tokenizer).__name__}, but should be a BertTokenizer: only WordPiece can drop "
            "any token and still spell every word."
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
    # All options of the tokenizer except the ids of its added tokens, which have changed.
    options = {name: value for name, value in tokenizer.init_kwargs.items() if name != "added_tokens_decoder"}
    pruned_tokenizer = type(tokenizer)(**(options | {"vocab": vocab}))
    if truncation := tokenizer.backend_tokenizer.truncation:
        pruned_tokenizer.backend_tokenizer.enable_truncation(**truncation)
    return _keep_rows(model, rows), pruned_tokenizer


def _keep_rows(model: Model, rows: list[int]) -> Model:
    """Return a copy of the model with these rows of its token table, and of its language modelling head."""
    pruned = copy.deepcopy(model)
    pad = model.config.pad_token_id
    pruned.config.vocab_size = len(rows)
    pruned.config.pad_token_id = rows.index(pad) if pad in rows else None
    table: Any = model.get_input_embeddings()
    pruned.set_input_embeddings(_embedding(table.weight[rows], pruned.config.pad_token_id))
    if isinstance(decoder := pruned.get_output_embeddings(), nn.Linear):
        decoder.weight = nn.Parameter(decoder.weight.detach()[rows])
        decoder.bias = nn.Parameter(decoder.bias.detach()[rows])
        decoder.out_features = len(rows)
        pruned.tie_weights()
    return pruned


def factorize_embeddings(model: Model, embedding_size: int) -> Model:
    """Replace the token table by a narrower one and a linear map back to the hidden size.

    Among all tables of that width, the result has the smallest sum of squared errors of the two variants that the
    first layer computes from the tokens: it is the truncated singular value decomposition of the table times
    `variants`. The tables of positions and token types are projected onto the same columns.

    Args:
        model: A model, which is not changed.
        embedding_size: Width of the new table, the `config.embedding_size` of the new model.

    Returns:
        A copy of the model with narrower tables and a new `embed_proj`, in the dtype and on the device of the model.
        They are computed in at least float32.

    Raises:
        ValueError: `embedding_size` is not below the width of the table, or above its number of rows; or the model has
            a language modelling head, whose norm before the table cannot become narrower without training.
    """
    if model.get_output_embeddings() is not None:
        raise ValueError(
            f"model is a {type(model).__name__}, whose head cannot be narrowed without training: factorize its "
            "base_model, load that with a new head, and train on."
        )
    factorized = copy.deepcopy(model)
    wave: Any = factorized.base_model
    width = wave.embed_tokens.embedding_dim
    if not 1 <= embedding_size < width:
        raise ValueError(
            f"embedding_size is {embedding_size}, but should be at least 1 and below {width}, the present width."
        )
    rows = wave.embed_tokens.num_embeddings
    if embedding_size > rows:
        raise ValueError(f"embedding_size is {embedding_size}, but should be at most {rows}, the number of tokens.")
    hidden_size = factorized.config.hidden_size
    weight = wave.embed_tokens.weight
    given = {"dtype": weight.dtype, "device": weight.device}
    precise = {"dtype": torch.promote_types(weight.dtype, torch.float32), "device": weight.device}
    with torch.no_grad():
        is_wide = factorized.config.embedding_size is None
        to_hidden = torch.eye(width, **precise) if is_wide else wave.embed_proj.weight.T.to(**precise)
        bias = torch.zeros(hidden_size, **given) if is_wide else wave.embed_proj.bias
        to_variants = wave.layers[0].mixer.variants.weight.T.to(**precise)
        to_both = to_hidden @ to_variants
        columns = torch.linalg.svd(weight.to(**precise) @ to_both, full_matrices=False).Vh[:embedding_size]
        for name in ("embed_tokens", "embed_positions", "embed_token_types"):
            if (table := getattr(wave, name)) is not None:
                narrow = table.weight.to(**precise) @ to_both @ columns.T
                setattr(wave, name, _embedding(narrow.to(**given), table.padding_idx))
        wave.embed_proj = nn.Linear(embedding_size, hidden_size, **given)
        # The columns live in the space of the variants; the pseudoinverse maps them back to the hidden size.
        wave.embed_proj.weight.copy_((columns @ torch.linalg.pinv(to_variants)).T)
        wave.embed_proj.bias.copy_(bias)
    factorized.config.embedding_size = embedding_size
    return factorized.train(model.training)


def _embedding(rows: torch.Tensor, padding_idx: int | None) -> nn.Embedding:
    return nn.Embedding.from_pretrained(rows.detach().clone(), freeze=False, padding_idx=padding_idx)
