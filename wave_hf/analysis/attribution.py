"""Attribution of a decision to tokens: shares that add up to the logit, and integrated gradients for any model."""

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..modeling_wave import WaveForSequenceClassification
from ..remote_code import is_instance
from .inputs import encode

MAX_GAP = 0.01
POINTS = (16, 32, 64, 128, 256, 512, 1024)
BATCH_SIZE = 32


class TokenShares(NamedTuple):
    """The contribution of each token of a text to the logits: `logits` equals `shares.sum(dim=0) + bias`.

    Args:
        tokens: The T tokens as the tokenizer writes them, special tokens included.
        shares: `(T, num_labels)`, in the dtype of the model, like `bias` and `logits`.
        bias: `(num_labels,)`, the bias of the classifier and of a norm after the pooling, which belong to no token.
        logits: `(num_labels,)`.
    """

    tokens: list[str]
    shares: torch.Tensor
    bias: torch.Tensor
    logits: torch.Tensor


@torch.no_grad()
def token_shares(model: WaveForSequenceClassification, tokenizer: PreTrainedTokenizerBase, text: str) -> TokenShares:
    """Divide the logits of a text among its tokens: share_jc = classifier.weight_c . last_hidden_state_j / T.

    With mean pooling and a linear head the logits are exactly the sum of the shares and the bias. A share belongs to a
    position and is not the effect of removing its token: through the global magnitude G, and through local kernels if
    there are any, every position depends on the other tokens, too. A final norm of the pooled vector is applied to
    each token with the standard deviation of the pooled vector, which makes it linear.

    Args:
        model: A `WaveForSequenceClassification` with `pooling="mean"` and `pair_encoding="joint"`. It is put in
            evaluation mode.
        tokenizer: Its tokenizer.
        text: One text, which is not truncated.

    Raises:
        ValueError: The model has no token shares, the tokenizer has more tokens than the model, or the text has no
            tokens or more than the model has positions.
    """
    if reason := why_not_additive(model):
        raise ValueError(reason)
    inputs = encode(model, tokenizer, text)
    model.eval()
    outputs = model.wave(**inputs, return_dict=True)
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
    """Return the reason why a model has no token shares, or `None` if it has them."""
    if not is_instance(model, WaveForSequenceClassification):
        return f"model is a {type(model).__name__}, but should be a WaveForSequenceClassification."
    for name, wanted in {"pooling": "mean", "pair_encoding": "joint"}.items():
        value = getattr(model.config, name)
        if value != wanted:
            return f"{name} of the model is {value!r}, but token shares need {wanted!r}."
    return None


class Attribution(NamedTuple):
    """The contribution of each token to one logit, compared with a text of mean embeddings of the same length.

    Args:
        tokens: The T tokens as the tokenizer writes them, special tokens included.
        attributions: `(T,)`, in the dtype of the model.
        label: Index of the logit.
        baseline: The logit of the mean embeddings.
        logit: The logit of the text.
        gap: The difference between `attributions.sum()` and `logit - baseline`, as a fraction of the latter.
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
    """Integrate the gradient of a logit along the straight line from the mean embedding to each token's embedding.

    Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", arXiv:1703.01365, equation 1. The number of
    Gauss-Legendre points is doubled until the gap is below 1 %, up to 1024 points. Where both ends of the line have
    nearly the same logit the gap stays large: look at `gap` before you trust the attributions.

    Args:
        model: Any sequence classifier of transformers. It is put in evaluation mode.
        tokenizer: Its tokenizer.
        text: One text, which is not truncated.
        label: Index of the logit to attribute; `None` means the largest.

    Raises:
        ValueError: The tokenizer has more tokens than the model, or the text has no tokens or more than the model has
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
    """Return the points and weights of Gauss-Legendre quadrature on [0, 1], `(num_points, 1, 1)` each."""
    points, weights = np.polynomial.legendre.leggauss(num_points)  # on [-1, 1]
    return [torch.from_numpy(values).to(like).view(-1, 1, 1) for values in ((points + 1) / 2, weights / 2)]
