"""Which tokens carry a decision: shares that add up to the logit, and integrated gradients where there are none."""

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..modeling_wave import WaveForSequenceClassification
from .inputs import encode

MAX_GAP = 0.01
POINTS = (16, 32, 64, 128, 256, 512, 1024)
BATCH_SIZE = 32


class TokenShares(NamedTuple):
    """What each token of a text adds to the logits: `shares.sum(dim=0) + bias` are the `logits`.

    Args:
        tokens: The T tokens as the tokenizer writes them, special tokens included.
        shares: `(T, num_labels)`, in the dtype of the model as the next two.
        bias: `(num_labels,)`, what belongs to no token: the bias of the classifier and of a norm after the pooling.
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
    one, each position holds something of the other tokens, too. A final norm of the pooled vector is linear once its
    standard deviation is known, and is applied to each state.

    Args:
        model: A `WaveForSequenceClassification` with `pooling="mean"` and `pair_encoding="joint"`. It is put in
            evaluation mode.
        tokenizer: Its tokenizer.
        text: One text. It is not cut off, whatever its length.

    Raises:
        ValueError: The model is another one, the tokenizer has more tokens than the model, the text has none, or more
            than the model has positions.
    """
    if reason := why_not_additive(model):
        raise ValueError(reason)
    inputs = encode(model, tokenizer, text)
    model.eval()
    outputs = model.wave(**inputs)
    tokens = inputs.tokens()
    states, bias = outputs.last_hidden_state[0], model.classifier.bias.clone()
    if model.config.final_norm == "pooled":
        norm = model.wave.norm
        deviation = (states.mean(dim=0).var(correction=0) + norm.eps).sqrt()
        states = norm.weight * (states - states.mean(dim=-1, keepdim=True)) / deviation
        bias = model.classifier(norm.bias)
    shares = states @ model.classifier.weight.T / len(tokens)
    return TokenShares(tokens, shares, bias, model.classifier(outputs.pooler_output)[0])


def why_not_additive(model: Any) -> str | None:
    """Return why the tokens of a model have no shares; `None` if they have."""
    if not isinstance(model, WaveForSequenceClassification):
        return f"model is a {type(model).__name__}, but should be a WaveForSequenceClassification."
    for name, wanted in {"pooling": "mean", "pair_encoding": "joint"}.items():
        value = getattr(model.config, name)
        if value != wanted:
            return f"{name} of the model is {value!r}, but only with {wanted!r} do tokens have shares."
    return None


class Attribution(NamedTuple):
    """What each token adds to one logit, compared with a text of as many mean embeddings.

    Args:
        tokens: The T tokens as the tokenizer writes them, special tokens included.
        attributions: `(T,)`, in the dtype of the model.
        label: Which logit it is.
        baseline: That logit for the mean embeddings.
        logit: That logit for the text.
        gap: By how much `attributions.sum()` misses `logit - baseline`, as a fraction of the latter.
    """

    tokens: list[str]
    attributions: torch.Tensor
    label: int
    baseline: float
    logit: float
    gap: float


def integrated_gradients(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, label: int | None = None
) -> Attribution:
    """Integrate the gradient of a logit on the straight way from the mean embedding to each token's own.

    Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", arXiv:1703.01365, equation 1. The integral is
    taken at Gauss-Legendre points, twice as many each time until the gap is below 1 %, but not more than 1024. A way
    that ends where it began, at the same logit, has no such gap: look at `gap` before you trust the rest.

    Args:
        model: Any sequence classifier of transformers. It is put in evaluation mode.
        tokenizer: Its tokenizer.
        text: One text. It is not cut off, whatever its length.
        label: The logit that is divided among the tokens; `None` means the largest.

    Raises:
        ValueError: The tokenizer has more tokens than the model, the text has none, or more than the model has
            positions.
    """
    inputs = encode(model, tokenizer, text)
    model.eval()
    with torch.no_grad():
        table = cast(nn.Embedding, model.get_input_embeddings())
        end = table(inputs["input_ids"])
        start = table.weight.mean(dim=0).expand_as(end)
        baselines, logits = model(inputs_embeds=torch.cat((start, end))).logits
    label = int(logits.argmax()) if label is None else label
    difference = (logits - baselines)[label]
    for num_points in POINTS:
        points, weights = gauss_legendre(num_points, end)
        gradient = torch.zeros_like(end)
        for some_points, some_weights in zip(points.split(BATCH_SIZE), weights.split(BATCH_SIZE), strict=True):
            embeddings = (start + some_points * (end - start)).requires_grad_()
            logit = model(inputs_embeds=embeddings).logits[:, label].sum()
            gradient += (some_weights * torch.autograd.grad(logit, embeddings)[0]).sum(dim=0)
        attributions = ((end - start) * gradient).sum(dim=-1)[0]
        gap = float(abs(attributions.sum() - difference) / abs(difference))
        if gap < MAX_GAP:
            break
    return Attribution(inputs.tokens(), attributions, label, float(baselines[label]), float(logits[label]), gap)


def gauss_legendre(num_points: int, like: torch.Tensor) -> list[torch.Tensor]:
    """Return the points between 0 and 1 that integrate best, and their weights: `(num_points, 1, 1)` each."""
    points, weights = np.polynomial.legendre.leggauss(num_points)  # from -1 to 1
    return [torch.from_numpy(values).to(like).view(-1, 1, 1) for values in ((points + 1) / 2, weights / 2)]
