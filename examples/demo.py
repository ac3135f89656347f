#!/usr/bin/env python
# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Try a classifier in the browser: the classes of a text, and what each token adds to the likeliest one.

python examples/demo.py --model_name_or_path DIR
"""

import os
from dataclasses import dataclass, field
from functools import partial
from html import escape

import gradio as gr
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForSequenceClassification, AutoTokenizer, HfArgumentParser, PreTrainedTokenizerBase

from wave_hf import WaveForSequenceClassification
from wave_hf.analysis import TokenShares, token_shares

EXPLANATION = """A class is as likely as its logit is high. Each token has a share in the logit of the likeliest class:
blue speaks for the class, orange against it. They are shares by position, not effects of words: through the magnitude
that all tokens share, even the wave of “the” holds something of the whole text."""
EXAMPLES = ["Return the eigenvalues of a symmetric matrix.", "Do not compute the gradient of frozen weights."]
# Of Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE = "0 114 178", "230 159 0"


@dataclass
class DemoArguments:
    """The model that is shown; gradio's GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where."""

    model_name_or_path: str | None = field(
        default=os.environ.get("MODEL_NAME_OR_PATH"),
        metadata={"help": "Folder or Hub id of the model. None: that of the environment variable MODEL_NAME_OR_PATH."},
    )


def main() -> None:
    """Serve the page until the process is ended."""
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
    # The system's fonts: nothing is fetched from elsewhere.
    theme = gr.themes.Default(primary_hue="blue", font="sans-serif", font_mono="monospace")
    page.launch(theme=theme, footer_links=[], show_error=True)


def load(name: str | None) -> tuple[WaveForSequenceClassification, PreTrainedTokenizerBase]:
    """Return the model and its tokenizer, or end with one sentence if there are none whose tokens have shares."""
    if name is None:
        raise SystemExit("Name a model: pass --model_name_or_path, or set the environment variable MODEL_NAME_OR_PATH")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        token_shares(model, tokenizer, "a")
    except (OSError, StrictDataclassError, ValueError) as error:
        raise SystemExit(f"Model {name}: {' '.join(str(error).split())}") from error
    return model, tokenizer


def classify(
    model: WaveForSequenceClassification, tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[dict[str, float] | str, str]:
    """Return the probability of each class, or what a regression predicts, and the tokens as HTML."""
    analysis = token_shares(model, tokenizer, text)
    names: dict = model.config.id2label or {}
    likeliest = int(analysis.logits.argmax())
    tokens = draw(analysis, likeliest, names[likeliest])
    problem_type, logits = model.config.problem_type, analysis.logits
    if problem_type == "regression" or (problem_type is None and len(logits) == 1):
        return ", ".join(f"{names[i]}: {value:.3f}" for i, value in enumerate(logits.tolist())), tokens
    probabilities = logits.sigmoid() if problem_type == "multi_label_classification" else logits.softmax(dim=-1)
    return {names[i]: probability for i, probability in enumerate(probabilities.tolist())}, tokens


def draw(analysis: TokenShares, label: int, name: str) -> str:
    """Return the tokens as HTML, each on a colour as strong as its share, under the sum that makes the logit."""
    shares = analysis.shares[:, label]
    strengths = 0.6 * shares / shares.abs().max()
    marks = [
        f'<mark style="background: rgb({BLUE if strength > 0 else ORANGE} / {abs(strength):.2f}); color: inherit; '
        f'display: inline-block; margin: 2px; padding: 2px 6px">{escape(token)} <small>{share:+.2f}</small></mark>'
        for token, share, strength in zip(analysis.tokens, shares.tolist(), strengths.tolist(), strict=True)
    ]
    total, bias, logit = shares.sum(), analysis.bias[label], analysis.logits[label]
    equation = f"{total:+.2f} in shares, and a bias of {bias:+.2f}, make the logit {logit:+.2f}"
    return f"<p><b>{escape(name)}</b>: {equation}</p>{' '.join(marks)}"


if __name__ == "__main__":
    main()
