"""Train a compact tokenizer on your own texts; and how a tokenizer fits a model: its ids and its longest text."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any

from tokenizers import Tokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import AutoTokenizer, BertTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.tokenization_utils_base import LARGE_INTEGER


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


def load_saved_tokenizer(name: str, trust_remote_code: bool = False, **options: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer as `AutoTokenizer` does, without asking whether to trust the code of its folder.

    Args:
        name: Its folder or Hub id.
        trust_remote_code: Whether to run that code.
        **options: More options of `AutoTokenizer.from_pretrained`.

    Raises:
        OSError: There is no tokenizer.
        ValueError: Its files are damaged.
    """
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code, **options)
    except (AttributeError, LookupError, TypeError) as error:  # of files that hold something else than expected
        raise ValueError(
            f"{name}: the files of the tokenizer are damaged ({type(error).__name__}: {error})."
        ) from error


def check_tokenizer_fits(tokenizer: PreTrainedTokenizerBase | Tokenizer, config: PreTrainedConfig, name: str) -> None:
    """Check that the token table of a model has a row for every token of a tokenizer.

    Args:
        tokenizer: The tokenizer.
        config: Config of the model.
        name: The model in the message, such as its folder.

    Raises:
        ValueError: The table has too few rows.
    """
    largest_id = max(tokenizer.get_vocab().values(), default=0)
    if largest_id >= config.vocab_size:
        raise ValueError(
            f"{name}: the tokenizer has ids up to {largest_id}, but the token table has only {config.vocab_size} "
            "rows; use the tokenizer that the model was trained with."
        )


def text_limits(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> dict[str, int]:
    """Return what limits the number of tokens of a text, by its name in messages; see `longest_text`.

    Raises:
        TypeError: The tokenizer's `model_max_length` is no number.
    """
    max_length, positions = tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)
    if not isinstance(max_length, int | float):
        raise TypeError(f"model_max_length is {max_length!r}, but should be a number")
    limits = {} if positions is None else {"the position table": positions}
    # A tokenizer without a limit has a very large one.
    return limits | ({} if max_length > LARGE_INTEGER else {"model_max_length of the tokenizer": int(max_length)})


def smallest_limit(tokenizer: PreTrainedTokenizerBase, limits: Mapping[str, int]) -> tuple[str, int]:
    """Return the smallest of the limits and its name.

    Raises:
        ValueError: It leaves no token of a text beside the special tokens.
    """
    name, limit = min(limits.items(), key=itemgetter(1))
    special_tokens = tokenizer.num_special_tokens_to_add()
    if limit <= special_tokens:
        raise ValueError(f"{name} is {limit}, which leaves no token beside the {special_tokens} special ones")
    return name, limit


def longest_text(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> int | None:
    """Return the largest number of tokens of a text, special tokens included; `None` if nothing limits it.

    It is the smaller of the tokenizer's `model_max_length`, which the training scripts set, and the position table of
    the network. The training scripts, an export and `pipeline(..., truncation=True)` truncate to it.

    Args:
        tokenizer: The tokenizer.
        config: Config of the model.

    Raises:
        TypeError: The tokenizer's `model_max_length` is no number.
        ValueError: No token of a text would be left beside the special tokens.
    """
    limits = text_limits(tokenizer, config)
    return smallest_limit(tokenizer, limits)[1] if limits else None


def standalone_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> Tokenizer:
    """Return the tokenizer that tokenizer.json describes, without padding; it truncates to `longest_text` by itself.

    Raises:
        ValueError: The tokenizer is written in Python, and has no tokenizer.json; or see `longest_text`.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"tokenizer is a {type(tokenizer).__name__}, but should be one that has a tokenizer.json.")
    standalone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    standalone.no_padding()
    standalone.no_truncation()
    if (limit := longest_text(tokenizer, config)) is not None:
        standalone.enable_truncation(limit, direction=tokenizer.truncation_side)
    return standalone
