"""Turning a text into what a network reads, or into a clear error."""

from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase


def encode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, min_tokens: int = 1
) -> BatchEncoding:
    """Return the inputs of one text, each `(1, T)`, on the device of the model; it is not cut off.

    Raises:
        ValueError: The tokenizer has more tokens than the model, or the text fewer than `min_tokens` or more than the
            model has positions.
    """
    rows = model.config.vocab_size
    if len(tokenizer) > rows:
        raise ValueError(
            f"tokenizer has {len(tokenizer)} tokens, but the token table of the model only {rows} rows: take the "
            "tokenizer that the model was trained with."
        )
    inputs = tokenizer(text, return_tensors="pt")
    number = len(inputs.tokens())
    if number < min_tokens:
        raise ValueError(f"text is {text!r}: its number of tokens is {number}, but should be at least {min_tokens}.")
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and number > limit:
        raise ValueError(f"The texts have {number} tokens, but max_position_embeddings allows at most {limit}.")
    return inputs.to(model.device)
