"""Encoding one text for a model."""

from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from ..configuration_wave import check_length
from ..tokenization import check_tokenizer_fits


def encode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, min_tokens: int = 1
) -> BatchEncoding:
    """Return the inputs of one text, each `(1, T)`, on the device of the model and without truncation.

    Raises:
        ValueError: The tokenizer has more tokens than the model, or the text has fewer tokens than `min_tokens` or
            more than the model has positions.
    """
    check_tokenizer_fits(tokenizer, model.config, "the model")
    inputs = tokenizer(text, return_tensors="pt")
    number = len(inputs.tokens())
    if number < min_tokens:
        raise ValueError(f"text is {text!r}: its number of tokens is {number}, but should be at least {min_tokens}.")
    check_length(model.config, number)
    return inputs.to(model.device)
