"""Networks and texts for the tests: small, random and the same in every run."""

import csv
from pathlib import Path
from typing import Any

import torch
import transformers
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertTokenizer, PreTrainedTokenizerFast
from transformers.modeling_outputs import ModelOutput, MultipleChoiceModelOutput, QuestionAnsweringModelOutput

import wave_hf
from wave_hf import (
    WaveConfig,
    WaveForMaskedLM,
    WaveForMultipleChoice,
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveModel,
    WavePreTrainedModel,
    modeling_wave,
    train_tokenizer,
    waves,
)
from wave_hf.configuration_wave import MODEL_CLASSES

# The agreement that the network promises for logits that should be equal.
SAME = {"atol": 1e-5, "rtol": 1e-4}

CHECKPOINTS = sorted(Path(__file__).parent.glob("checkpoints/*"))
VOCAB_SIZE = 32
OPERATIONS = list(waves.WAVE_OPERATIONS)
READOUTS = list(waves.READOUTS)
POOLINGS = list(modeling_wave.POOLINGS)
# Every token of a modulation has the same magnitude; scaled, it is the number of tokens.
CONSTANT = ("modulation", "magnitude")
# The class of each Auto class, and those of them that are heads.
AUTO_CLASSES = {
    getattr(transformers, auto_class): getattr(wave_hf, model_class)
    for auto_class, model_class in MODEL_CLASSES.items()
}
HEADS = [model_class for model_class in AUTO_CLASSES.values() if model_class is not WaveModel]

TEXTS = ["one wave and two waves", "an ocean of waves", "one ocean, two oceans", "wave", "two"]
LABELS = ["sea", "land", "air"]

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "surf", "was", "not", "bad", "just", "long", "##er", ",", "."]
TOKENIZER = BertTokenizer(vocab={token: i for i, token in enumerate(SPECIAL_TOKENS + WORDS)})
# Makes one token of each word and adds no special tokens.
BARE_TOKENIZER = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]")))

# Every optional part of the network at once.
ALL_PARTS = {
    "embedding_size": 4,
    "num_hidden_layers": 2,
    "wave_operation": ["interference", "modulation"],
    "intermediate_size": 12,
    "local_kernel_size": 3,
    "variant_kernel_size": 3,
    "scale_waves": True,
    "update_norm": True,
    "residual": True,
    "final_norm": "pooled",
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}


def tiny_config(**fields: Any) -> WaveConfig:
    """Return the config of the paper's single layer, 8 wide and without dropout, with these fields changed."""
    defaults = {"vocab_size": VOCAB_SIZE, "hidden_size": 8, "hidden_dropout_prob": 0.0, "num_labels": 3}
    return WaveConfig(**(defaults | fields))


def configs(**fields: st.SearchStrategy) -> st.SearchStrategy[WaveConfig]:
    """Draw tiny configs of all kinds; `fields` replaces the strategies of single fields."""
    kinds = {
        "wave_operation": st.sampled_from(OPERATIONS),
        "readout": st.sampled_from(READOUTS),
        "pooling": st.sampled_from(POOLINGS),
        "pair_encoding": st.sampled_from(["joint", "separate"]),
        "num_hidden_layers": st.sampled_from([1, 3]),
        "embedding_size": st.sampled_from([None, 4]),
        "intermediate_size": st.sampled_from([None, 12]),
        "local_kernel_size": st.sampled_from([None, 3]),
        "local_kernel_groups": st.sampled_from([None, 1]),
        "variant_kernel_size": st.sampled_from([None, 3]),
        "scale_waves": st.booleans(),
        "update_norm": st.booleans(),
        "residual": st.booleans(),
        "final_norm": st.sampled_from(["tokens", "pooled"]),
        "max_position_embeddings": st.sampled_from([None, 16]),
        "type_vocab_size": st.sampled_from([0, 2]),
    }
    possible = st.fixed_dictionaries(kinds | fields).filter(
        lambda fields: not (fields["scale_waves"] and (fields["wave_operation"], fields["readout"]) == CONSTANT)
    )
    return possible.map(lambda fields: tiny_config(**fields))


def tiny_model(
    config: WaveConfig | None = None,
    model_class: type[WavePreTrainedModel] = WaveForSequenceClassification,
    **fields: Any,
) -> WavePreTrainedModel:
    """Return a network of the config, or of `tiny_config(**fields)`, in eval mode and with all parameters random.

    A freshly initialised network would hide errors: its biases are zero, and its logits hardly differ.
    """
    torch.manual_seed(0)
    model = model_class(config or tiny_config(**fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.eval()


def head_inputs(model: WavePreTrainedModel, **texts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return texts `(B, T)` as inputs of a head: for multiple choice they become the choices of one question."""
    is_choice = isinstance(model, WaveForMultipleChoice)
    return {name: text.unsqueeze(0) if is_choice else text for name, text in texts.items()}


def training_inputs(model: WavePreTrainedModel, **texts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return texts as inputs of a head, with valid labels."""
    batch, length = next(iter(texts.values())).shape[:2]
    inputs = head_inputs(model, **texts)
    if isinstance(model, WaveForQuestionAnswering):
        ends = torch.full((batch,), length - 1)
        return inputs | {"start_positions": torch.arange(batch) % length, "end_positions": ends}
    if isinstance(model, WaveForMultipleChoice):
        return inputs | {"labels": torch.tensor([batch - 1])}
    if isinstance(model, WaveForSequenceClassification):
        return inputs | {"labels": torch.arange(batch) % model.config.num_labels}
    classes = model.config.vocab_size if isinstance(model, WaveForMaskedLM) else model.config.num_labels
    return inputs | {"labels": torch.arange(batch * length).view(batch, length) % classes}


def scores(model: WavePreTrainedModel, **texts: torch.Tensor) -> torch.Tensor:
    """Return the logits of each text, `(B, C)`, or of each token, `(B, T, C)`, whatever the head."""
    return output_scores(model(**head_inputs(model, **texts)))


def output_scores(output: ModelOutput) -> torch.Tensor:
    """Return the logits of an output in the shape that `scores` returns."""
    if isinstance(output, QuestionAnsweringModelOutput):
        return torch.stack((output.start_logits, output.end_logits), dim=-1)
    return output.logits.T if isinstance(output, MultipleChoiceModelOutput) else output.logits


def gradients(model: WavePreTrainedModel, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the gradients of the loss with respect to the parameters."""
    model.zero_grad()
    model(**inputs).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def save_classifier(
    folder: Path, model_class: type[WavePreTrainedModel] = WaveForSequenceClassification, **fields: Any
) -> WavePreTrainedModel:
    """Save a network and its tokenizer for `TEXTS` and `LABELS`."""
    tokenizer = train_tokenizer(TEXTS * 2)
    id2label = dict(enumerate(LABELS))
    model = tiny_model(model_class=model_class, vocab_size=len(tokenizer), id2label=id2label, **fields)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def write_rows(file: Path, **columns: list[Any]) -> str:
    """Write a csv file of these columns and return its name."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(file)


def random_ids(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return random token ids."""
    return torch.randint(VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(seed))
