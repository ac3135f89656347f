"""Looking into a trained Wave Network."""

from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from ..modeling_wave import WaveForSequenceClassification


class TokenShares(NamedTuple):
    """What each token of a text adds to the logits: `shares.sum(dim=0) + bias` are the `logits`.

    Args:
        tokens: The T tokens as the tokenizer writes them, special tokens included.
        shares: `(T, num_labels)`, in the dtype of the model as the next two.
        bias: `(num_labels,)`, the bias of the classifier, which belongs to no token.
        logits: `(num_labels,)`.
    """

    tokens: list[str]
    shares: torch.Tensor
    bias: torch.Tensor
    logits: torch.Tensor


@torch.no_grad()
def token_shares(model: WaveForSequenceClassification, tokenizer: PreTrainedTokenizerBase, text: str) -> TokenShares:
    """Divide the logits of a text among its tokens: share_jc = classifier.weight_c . last_hidden_state_j / T.

    With mean pooling and a linear head the logits are exactly the sum of these and the bias. They are shares by
    position, not what would change without that token: through the global magnitude G, and a local kernel if there is
    one, each position holds something of the other tokens, too.

    Args:
        model: A `WaveForSequenceClassification` with `pooling="mean"` and `pair_encoding="joint"`. It is put in
            evaluation mode.
        tokenizer: Its tokenizer.
        text: One text. It is not cut off, whatever its length.

    Raises:
        ValueError: The model is another one, the tokenizer has more tokens than the model, the text has none, or more
            than the model has positions.
    """
    _check_additive(model)
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"tokenizer has {len(tokenizer)} tokens, but the token table of the model only {model.config.vocab_size} "
            "rows: take the tokenizer that the model was trained with."
        )
    inputs = tokenizer(text, return_tensors="pt")
    tokens = inputs.tokens()
    if not tokens:
        raise ValueError(f"text is {text!r}, of which the tokenizer makes no token, but at least one is needed.")
    model.eval()
    outputs = model.wave(**inputs.to(model.device))
    shares = outputs.last_hidden_state[0] @ model.classifier.weight.T / len(tokens)
    logits = model.classifier(outputs.pooler_output)[0]
    return TokenShares(tokens, shares, model.classifier.bias.clone(), logits)


def _check_additive(model: WaveForSequenceClassification) -> None:
    if not isinstance(model, WaveForSequenceClassification):
        raise ValueError(f"model is a {type(model).__name__}, but should be a WaveForSequenceClassification.")
    for name, wanted in {"pooling": "mean", "pair_encoding": "joint"}.items():
        value = getattr(model.config, name)
        if value != wanted:
            raise ValueError(f"{name} of the model is {value!r}, but only with {wanted!r} do tokens have shares.")
