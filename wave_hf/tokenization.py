"""Training a compact tokenizer on one's own texts."""

import sys
from collections import Counter
from collections.abc import Iterable
from itertools import chain

from tokenizers import Tokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import BertTokenizer


def train_tokenizer(texts: Iterable[str], vocab_size: int = 30522, do_lower_case: bool = True) -> BertTokenizer:
    """Trains a WordPiece vocabulary on texts and returns it as a stock `BertTokenizer`.

    The tokenizer needs nothing of this package: once saved, `AutoTokenizer.from_pretrained` loads it wherever
    transformers is installed. The same texts give the same vocabulary in every process.

    Args:
        texts (`Iterable[str]`):
            The texts, for instance a list, a generator or a column of a dataset. They are held in memory.
        vocab_size (`int`, *optional*, defaults to 30522):
            The most tokens the vocabulary may have, special tokens included. Small corpora give fewer, since only
            what occurs twice becomes a token of several characters: `len(tokenizer)` is the size a model needs.
        do_lower_case (`bool`, *optional*, defaults to `True`):
            Whether to lowercase texts and strip their accents, in training and ever after.

    Returns:
        `BertTokenizer`: Encodes a text as `[CLS] a [SEP]` and a pair as `[CLS] a [SEP] b [SEP]`; `[PAD]` has the id 0.
        A word with a character that the texts do not have becomes `[UNK]`.

    Raises:
        ValueError: If `texts` holds no text, or if `vocab_size` is too small for the special tokens and one character.

    Example:
        ```python
        >>> from wave_hf import train_tokenizer

        >>> tokenizer = train_tokenizer(["one wave", "two waves", "two oceans"])
        >>> tokenizer.tokenize("Two waves")
        ['two', 'wave', '##s']
        ```
    """
    tokenizer = BertTokenizer(do_lower_case=do_lower_case)
    special_tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    if vocab_size < len(special_tokens) + 2:
        raise ValueError(
            f"`vocab_size` is {vocab_size}, but the special tokens take {len(special_tokens)} and a character up to 2: "
            f"it must be at least {len(special_tokens) + 2}."
        )
    texts = list(texts)
    backend = tokenizer.backend_tokenizer
    # A character takes up to two tokens, `a` and `##a`: with half of the room they cannot exceed the vocabulary.
    characters = _most_common_characters(backend, texts, (vocab_size - len(special_tokens)) // 2)
    if not characters:
        raise ValueError("`texts` holds no text to train a tokenizer on: give at least one string that is not blank.")

    # The trainer numbers the `##a` tokens in the order of a randomly seeded hash map, and breaks ties between equally
    # frequent merges by these numbers (huggingface/tokenizers#1794). So the tokens of one character are learned first,
    # then sorted and handed over with the special tokens, whose order it keeps.
    alphabet = _train_vocabulary(backend, texts, 0, characters, special_tokens).keys() - set(special_tokens)
    vocab = _train_vocabulary(backend, texts, vocab_size, characters, special_tokens + sorted(alphabet))
    return BertTokenizer(vocab=vocab, do_lower_case=do_lower_case)


def _most_common_characters(backend: Tokenizer, texts: list[str], number: int) -> list[str]:
    counts = Counter(chain.from_iterable(map(backend.normalizer.normalize_str, texts)))
    del counts[" "]  # the only white space that normalizing leaves
    return [character for character, _ in counts.most_common(number)]


def _train_vocabulary(
    backend: Tokenizer, texts: list[str], vocab_size: int, characters: list[str], first_tokens: list[str]
) -> dict[str, int]:
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=first_tokens,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=sys.stdout.isatty(),  # elsewhere the bars are empty lines
    )
    backend.train_from_iterator(texts, trainer)
    return backend.get_vocab()
