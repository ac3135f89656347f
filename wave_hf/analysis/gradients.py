"""Gradients of a network's input and head during training (arXiv:2411.06989)."""

from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback


class GradientRecorder(TrainerCallback):
    """Records the gradients of each training step: `Trainer(..., callbacks=[recorder])`.

    It records three gradients before they are clipped or accumulated: of the embedding of the first token of each text
    (`cls`, which is [CLS] if texts are padded on the right), of the embeddings of the whole text (`text`), and of the
    weight of the classifier (`classifier`). The loss is that of `Trainer`: a mean over the batch, divided by the
    number of accumulated batches.

    It works with every sequence classifier of transformers whose head is called `classifier`, and does not change the
    training.

    Attributes:
        history: A dict for each step, with `step` and, for each gradient, `NAME_norm`, its L2 norm averaged over the
            texts, and `NAME_spread`, the standard deviation of the root mean squares of its dimensions divided by
            their mean: 0 if the gradient is spread equally over the dimensions.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []
        self.batches: list[dict[str, torch.Tensor]] = []
        self.hooks: list[Any] = []

    def on_train_begin(self, args, state, control, model: PreTrainedModel, **kwargs):  # type: ignore[override]
        """Register the hooks.

        Raises:
            ValueError: The model has no linear head called `classifier`, or its classifier or token table is frozen.
        """
        classifier = getattr(model, "classifier", None)
        if not isinstance(classifier, torch.nn.Linear):
            raise ValueError(f"model is a {type(model).__name__}, but should have a linear head called `classifier`.")
        table = model.get_input_embeddings()
        if not (table.weight.requires_grad and classifier.weight.requires_grad):
            raise ValueError(
                "The token table or the classifier is frozen, but should be trainable: it has no gradient to record."
            )
        self.hooks = [table.register_forward_hook(self.watch), classifier.weight.register_hook(self.record_classifier)]

    def watch(self, module: torch.nn.Module, args: tuple, embeddings: torch.Tensor) -> None:
        """Register a hook on the embeddings, unless the model is being evaluated."""
        if embeddings.requires_grad:
            embeddings.register_hook(self.record_text)

    def record_classifier(self, gradient: torch.Tensor) -> None:
        """Start the record of a batch with the gradient of the classifier `(num_labels, H)`, which comes first."""
        self.batches.append({"classifier": gradient.unsqueeze(0).clone()})  # clipping is in place

    def record_text(self, gradient: torch.Tensor) -> None:
        """Record a gradient of `(B, T, E)`; a network that encodes the sides of pairs separately has two of them."""
        batch = self.batches[-1]
        batch["text"] = batch["text"] + gradient if "text" in batch else gradient

    def on_step_end(self, args, state, control, **kwargs):
        """Append the means over the accumulated batches to the history."""
        summaries = [summarize(**batch) for batch in self.batches]
        means = {name: sum(summary[name] for summary in summaries) / len(summaries) for name in summaries[0]}
        self.history.append({"step": state.global_step, **means})
        self.batches = []

    def on_train_end(self, args, state, control, **kwargs):
        """Remove the hooks."""
        for hook in self.hooks:
            hook.remove()


def summarize(text: torch.Tensor, classifier: torch.Tensor) -> dict[str, float]:
    """Return the norms and spreads, see `GradientRecorder`, of gradients of `(texts, rows, dimensions)`."""
    summary = {}
    for name, gradient in {"cls": text[:, :1], "text": text, "classifier": classifier}.items():
        dimensions = gradient.float().square().mean(dim=(0, 1)).sqrt()
        summary[f"{name}_norm"] = float(gradient.float().flatten(start_dim=1).norm(dim=1).mean())
        summary[f"{name}_spread"] = float(dimensions.std(correction=0) / dimensions.mean())
    return summary
