"""Train a compact tokenizer on your own texts."""

import sys
from collections import Counter
from collections.abc import Iterable
from itertools import chain

from tokenizers import Tokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import BertTokenizer


def train_tokenizer(texts: Iterable[str], vocab_size: int = 30522, do_lower_case: bool = True) -> BertTokenizer:
    """Train a WordPiece vocabulary on texts and return it as a standard `BertTokenizer`.

    The saved tokenizer does not need this package: `AutoTokenizer.from_pretrained` loads it wherever transformers is
    installed. The same texts give the same vocabulary in every process.

    Args:
        texts: The texts, such as a list, a generator or a column of a dataset. They are held in memory.
        vocab_size: The maximum number of tokens, special tokens included. Small corpora give fewer, as a token of
            several characters must occur at least twice: `len(tokenizer)` is the size that a model needs.
        do_lower_case: Whether the tokenizer lowercases texts and strips accents.

    Returns:
        A tokenizer that encodes a text as `[CLS] a [SEP]` and a pair as `[CLS] a [SEP] b [SEP]`; `[PAD]` has the id 0.
        A word becomes `[UNK]` only if the vocabulary lacks one of its characters, or if it has more than 100
            characters.

    Raises:
        ValueError: `texts` holds no text, or `vocab_size` is too small for the special tokens and one character.

    Example:
        ```python
        >>> from wave_hf import train_tokenizer

        >>> tokenizer = train_tokenizer(["one wave", "two waves", "two oceans"])
        >>> tokenizer.tokenize("Two waves")
        ['two', 'wave', '##s']
        ```
    """
    tokenizer = BertTokenizer(do_lower_case=do_lower_case)
    special_tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    smallest_size = len(special_tokens) + 2
    if vocab_size < smallest_size:
        raise ValueError(
            f"vocab_size is {vocab_size}, but should be at least {smallest_size}: there are {len(special_tokens)} "
            "special tokens, and a character takes up to 2."
        )
    texts = list(texts)
    backend = tokenizer.backend_tokenizer
    # A character takes up to two tokens, `a` and `##a`, so half as many characters as free tokens always fit.
    characters = _most_common_characters(backend, texts, (vocab_size - len(special_tokens)) // 2)
    if not characters:
        raise ValueError("texts holds no text, but should hold at least one string that is not blank.")

    # By default the trainer numbers the `##a` tokens in the order of a randomly seeded hash map, and by these numbers
    # it chooses between equally frequent merges (huggingface/tokenizers#1794). The order of special tokens is kept.
    continuations = [f"##{character}" for character in characters if _continues_words(backend, character)]
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=special_tokens + continuations,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=sys.stdout.isatty(),  # elsewhere the progress bars are empty lines
    )
    backend.train_from_iterator(texts, trainer)
    return BertTokenizer(vocab=backend.get_vocab(), do_lower_case=do_lower_case)


def _most_common_characters(backend: Tokenizer, texts: list[str], number: int) -> list[str]:
    counts: Counter[str] = Counter()
    for character, count in Counter(chain.from_iterable(texts)).items():
        for normalized in backend.normalizer.normalize_str(character):
            counts[normalized] += count
    del counts[" "]  # the normalizer leaves no other white space
    return [character for character, _ in counts.most_common(number)]


def _continues_words(backend: Tokenizer, character: str) -> bool:
    """Whether a character can be inside a word; punctuation marks and Chinese characters are words by themselves."""
    return len(backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(f"a{character}"))) == 1
