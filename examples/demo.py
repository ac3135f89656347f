#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Try a classifier in the browser: the classes of a text, and the share of each token in the most probable one.

python demo.py --model_name_or_path DIR
"""

import os
from dataclasses import dataclass, field
from functools import partial
from html import escape

import gradio as gr
from transformers import HfArgumentParser, PreTrainedTokenizerBase

from wave_hf import WaveForSequenceClassification
from wave_hf.analysis import TokenShares, token_shares
from wave_hf.analysis.plotting import BLUE, ORANGE
from wave_hf.files import load_classifier
from wave_hf.training.errors import exit_on_error

EXPLANATION = """Probabilities are the softmax of the logits, or their sigmoid if a text can have several labels. Each
token has a share in the logit of the most probable class: blue shares speak for the class, orange shares against it. A
share belongs to a position and is not the effect of a word: through the magnitude that all tokens share, even the wave
of “the” depends on the whole text."""
MAX_CHARACTERS = 20_000
EXAMPLES = ["Return the eigenvalues of a symmetric matrix.", "Do not compute the gradient of frozen weights."]


@dataclass
class DemoArguments:
    """Options of the demo; gradio reads the address from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT."""

    model_name_or_path: str | None = field(
        default=os.environ.get("MODEL_NAME_OR_PATH"),
        metadata={"help": "Folder or Hub id of the model. None: the value of MODEL_NAME_OR_PATH."},
    )


def main() -> None:
    """Serve the page until the process ends."""
    (args,) = HfArgumentParser(DemoArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    page = gr.Interface(
        partial(classify, *load(args.model_name_or_path)),
        inputs=gr.Textbox(label="Text", lines=4, max_lines=12),
        outputs=[gr.Label(label="Class", num_top_classes=5), gr.HTML(container=True, padding=True)],
        title="Wave Network",
        description=EXPLANATION,
        examples=EXAMPLES,
        cache_examples=False,
        flagging_mode="never",
        analytics_enabled=False,
    )
    # The fonts of the system, so that nothing is fetched from elsewhere.
    theme = gr.themes.Default(primary_hue="blue", font="sans-serif", font_mono="monospace")
    page.launch(theme=theme, footer_links=[], show_error=True)


def load(name: str | None) -> tuple[WaveForSequenceClassification, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer, or end with one sentence if there is no such model or it has no token shares."""
    if name is None:
        raise SystemExit("Name a model: pass --model_name_or_path, or set the environment variable MODEL_NAME_OR_PATH")
    with exit_on_error(f"Model {name}"):
        model, tokenizer = load_classifier(name)
        token_shares(model, tokenizer, "a")
    return model, tokenizer


def classify(
    model: WaveForSequenceClassification, tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[dict[str, float] | str, str]:
    """Return the probability of each class, or the value of a regression, and the tokens as HTML.

    Raises:
        ValueError: The text is longer than `MAX_CHARACTERS`, which the page shows.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"The text has {len(text):,} characters, but may have at most {MAX_CHARACTERS:,} here.")
    analysis = token_shares(model, tokenizer, text)
    names: dict = model.config.id2label or {}
    label = int(analysis.logits.argmax())
    tokens = draw(analysis, label, names[label])
    problem_type, logits = model.config.problem_type, analysis.logits
    if problem_type == "regression" or (problem_type is None and len(logits) == 1):
        return ", ".join(f"{names[i]}: {value:.3f}" for i, value in enumerate(logits.tolist())), tokens
    probabilities = logits.sigmoid() if problem_type == "multi_label_classification" else logits.softmax(dim=-1)
    return {names[i]: probability for i, probability in enumerate(probabilities.tolist())}, tokens


def draw(analysis: TokenShares, label: int, name: str) -> str:
    """Return the tokens as HTML, highlighted by their shares, below the sum of the shares."""
    shares = analysis.shares[:, label]
    opacities = 0.6 * shares / shares.abs().max()
    marks = [
        f'<mark style="background: {BLUE if share > 0 else ORANGE}{round(255 * abs(opacity)):02x}; color: inherit; '
        f'display: inline-block; margin: 2px; padding: 2px 6px">{escape(token)} <small>{share:+.2f}</small></mark>'
        for token, share, opacity in zip(analysis.tokens, shares.tolist(), opacities.tolist(), strict=True)
    ]
    total, bias, logit = shares.sum(), analysis.bias[label], analysis.logits[label]
    equation = f"shares of {total:+.2f} and a bias of {bias:+.2f} add up to the logit {logit:+.2f}"
    return f"<p><b>{escape(name)}</b>: {equation}</p>{' '.join(marks)}"


if __name__ == "__main__":
    main()
