"""Tests of texts that are read window by window: the results are those of one forward pass, in constant memory."""

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from builders import ALL_PARTS, SAME, VOCAB_SIZE, configs, random_ids, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from wave_hf import WaveForSequenceClassification, WaveLayer, WaveModel, streaming, token2wave, train_tokenizer

TEXT = "Tokens of a text\nare waves;\t\twaves meet, naïve  ones too.\r\n\n Their sum is 東京 all they share: no-thing!"
LONG = {
    "local_kernel_size": st.sampled_from([None, 1, 3, 5]),
    "variant_kernel_size": st.sampled_from([None, 1, 3, 5]),
    "local_kernel_groups": st.sampled_from([None, 1, 2]),
    "max_position_embeddings": st.sampled_from([None, 64]),
    "num_hidden_layers": st.sampled_from([1, 2, 4]),
}
# Prints by how many MB a text of so many tokens raises the peak memory of the process.
PEAK_MEMORY = """
import resource, sys
import torch
from wave_hf import WaveConfig, WaveForSequenceClassification

tokens, labels = int(sys.argv[1]), torch.tensor([1]) if sys.argv[2] == 'training' else None
model = WaveForSequenceClassification(WaveConfig(vocab_size=1000, hidden_size=64, local_kernel_size=3))
chunks = (torch.randint(1000, (1000,)) for _ in range(tokens // 1000))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
idle = peak()
output = model.classify_stream(chunks, labels=labels)
if labels is not None:
    output.loss.backward()
print(peak() - idle)
"""


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT] * 4, vocab_size=90)


@pytest.fixture(scope="module")
def reader(tokenizer) -> WaveForSequenceClassification:
    return tiny_model(**(ALL_PARTS | {"max_position_embeddings": None, "vocab_size": len(tokenizer)}))


@st.composite
def cuts(draw, length: int) -> list[slice]:
    """Draw a way to cut a text into chunks, some of which may be empty."""
    places = sorted(draw(st.lists(st.integers(0, length), max_size=5)))
    return [slice(start, end) for start, end in zip([0, *places], [*places, length], strict=True)]


def gradients(model, loss) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


class TestLogits:
    # Where one token has nearly the whole energy of a text, the difference of the two loses half of the digits.
    @pytest.mark.slow
    @pytest.mark.parametrize(("dtype", "shortest", "tolerance"), [(torch.float64, 1, 1e-6), (torch.float32, 24, 1e-4)])
    @given(config=configs(**LONG), window_size=st.integers(1, 70), data=st.data())
    def test_are_those_of_one_forward_pass(self, dtype, shortest, tolerance, config, window_size, data):
        length = data.draw(st.integers(shortest, 64))
        model = tiny_model(config).to(dtype)
        ids = random_ids(1, length, seed=length)
        with torch.no_grad():
            expected = model(input_ids=ids).logits
        chunks = [ids[0, part] for part in data.draw(cuts(length))]
        logits = model.classify_stream(chunks, window_size=window_size).logits
        assert_close(logits, expected, atol=tolerance * expected.abs().max().item(), rtol=tolerance)

    def test_are_close_in_bfloat16(self):
        model, ids = tiny_model(local_kernel_size=3).bfloat16(), random_ids(1, 60)
        with torch.no_grad():
            expected = model(input_ids=ids).logits
        logits = model.classify_stream([ids], window_size=16).logits
        assert logits.dtype == torch.bfloat16
        assert_close(logits, expected, atol=3e-2, rtol=3e-2)

    def test_hold_for_many_tokens(self):
        model, ids = tiny_model(local_kernel_size=3, residual=True, num_hidden_layers=2), random_ids(1, 50_000)
        with torch.no_grad():
            expected = model(input_ids=ids).logits
        assert_close(model.classify_stream([ids]).logits, expected, atol=0, rtol=1e-4)

    def test_ignore_the_mode_of_the_model_and_leave_it(self):
        model, ids = tiny_model(hidden_dropout_prob=0.5, token_dropout_prob=0.5), random_ids(1, 20)
        expected = model.classify_stream([ids]).logits
        assert not expected.requires_grad
        model.train()
        model.wave.layers.eval()
        assert_close(model.classify_stream([ids]).logits, expected, atol=0, rtol=0)
        assert model.training
        assert model.wave.training
        assert not model.wave.layers.training

    def test_are_those_of_eval_mode_while_another_thread_trains(self):
        model, ids = (
            tiny_model(hidden_dropout_prob=0.5, token_dropout_prob=0.5, num_hidden_layers=2),
            random_ids(1, 90),
        )
        expected = model.classify_stream([ids], window_size=8).logits
        modes_seen, ended = set(), threading.Event()

        def train():
            while not ended.is_set():
                model.train()
                model(ids, labels=torch.tensor([1])).loss.backward()
                modes_seen.add(tuple(module.training for module in model.modules()))

        trainer = threading.Thread(target=train)
        trainer.start()
        try:
            with ThreadPoolExecutor(4) as readers:
                results = list(readers.map(lambda _: model.classify_stream([ids], window_size=8).logits, range(20)))
        finally:
            ended.set()
            trainer.join()
        assert modes_seen == {(True,) * len(list(model.modules()))}
        for logits in results:
            assert_close(logits, expected, atol=0, rtol=0)

    def test_share_the_hooks_of_the_model(self):
        model, seen = tiny_model(), []
        hook = model.wave.layers[0].register_forward_hook(lambda *_: seen.append(1))
        model.classify_stream([random_ids(9)], window_size=3)
        hook.remove()
        assert len(seen) == 3  # windows


class TestOffloading:
    """The weights of a model may lie on disk, or in other memory than they are computed in."""

    @pytest.mark.parametrize("offload", ["cpu", "disk", "blocks"])
    def test_gives_the_same_logits(self, offload, tmp_path):
        accelerate = pytest.importorskip("accelerate")
        model, ids = tiny_model(**(ALL_PARTS | {"pooling": "mean"})), random_ids(1, 16)
        expected = model(ids).logits.detach()
        device = torch.device("cpu")
        if offload == "cpu":
            accelerate.cpu_offload(model, device)
        elif offload == "disk":
            accelerate.disk_offload(model, str(tmp_path), device)
        else:
            parts = dict.fromkeys([f"wave.{name}" for name, _ in model.wave.named_children()] + ["classifier"], "cpu")
            parts |= {"wave.layers": "disk", "dropout": "cpu"}
            accelerate.dispatch_model(model, parts, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True)
        with torch.no_grad():
            assert_close(model(ids).logits, expected, **SAME)
        for _ in range(2):
            assert_close(model.classify_stream([ids], window_size=5).logits, expected, **SAME)


class TestEncoding:
    @pytest.mark.slow
    @given(config=configs(**LONG), length=st.integers(1, 64), window_size=st.integers(1, 70))
    def test_is_the_pooler_output_of_one_forward_pass(self, config, length, window_size):
        model, ids = tiny_model(config, WaveModel).double(), random_ids(1, length, seed=length)
        expected = model(input_ids=ids).pooler_output
        pooled = model.encode_stream([ids], window_size=window_size)
        assert_close(pooled, expected, atol=1e-6 * expected.abs().max().item(), rtol=1e-6)

    def test_of_text_adds_the_special_tokens(self, reader, tokenizer):
        expected = reader.wave(**tokenizer(TEXT, return_tensors="pt")).pooler_output
        assert_close(reader.wave.encode_stream([TEXT], tokenizer, window_size=8), expected, atol=1e-5, rtol=1e-4)

    def test_can_be_differentiated(self, reader):
        model, ids = reader.wave, random_ids(1, 20)
        expected = gradients(model, model(ids).pooler_output.square().sum())
        streamed = gradients(model, model.encode_stream([ids], window_size=6).square().sum())
        assert_close(streamed, expected, atol=1e-4, rtol=1e-4)


class TestTraining:
    @pytest.mark.slow
    @given(config=configs(**LONG), window_size=st.integers(1, 40), length=st.integers(1, 40))
    def test_gradients_are_those_of_one_forward_pass(self, config, window_size, length):
        model, ids, labels = tiny_model(config).double(), random_ids(1, length, seed=length), torch.tensor([1])
        loss = model(input_ids=ids, labels=labels).loss
        streamed = model.train().classify_stream([ids], labels=labels, window_size=window_size).loss
        assert_close(streamed, loss, atol=1e-6, rtol=1e-6)
        expected = gradients(model.eval(), loss)
        largest = max(gradient.abs().max().item() for gradient in expected.values())
        assert_close(gradients(model, streamed), expected, atol=1e-6 * max(largest, 1), rtol=1e-6)


class TestDocuments:
    """Each is classified as the same text is in one piece."""

    @pytest.fixture
    def expected(self, reader, tokenizer) -> torch.Tensor:
        with torch.no_grad():
            return reader(**tokenizer(TEXT, return_tensors="pt")).logits

    def test_text_may_be_cut_anywhere(self, reader, tokenizer, expected):
        for size in (1, 2, 5, len(TEXT)):
            chunks = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
            logits = reader.classify_stream(chunks, tokenizer, window_size=4).logits
            assert_close(logits, expected, atol=1e-5, rtol=1e-4)

    # A text with no white space that is longer than what is tokenized at a time.
    @pytest.mark.parametrize("words", ["naïve,", "東京", "a[SEP]", "no-thing!"])
    def test_text_without_white_space_is_cut_between_words(self, reader, tokenizer, words, monkeypatch):
        monkeypatch.setattr(streaming, "BLOCK_SIZE", 10)
        monkeypatch.setattr(streaming, "MAX_WORD_LENGTH", 40)
        text = words * 70
        with torch.no_grad():
            expected = reader(**tokenizer(text, return_tensors="pt")).logits
        for size in (1, 3, 50, len(text)):
            chunks = [text[start : start + size] for start in range(0, len(text), size)]
            assert_close(reader.classify_stream(chunks, tokenizer).logits, expected, **SAME)

    @pytest.mark.parametrize("chunk", ["a", ",", "\n", "東"])
    def test_pieces_of_a_text_without_white_space_are_few_and_bounded(self, chunk, tokenizer):
        number = 700_000
        pieces = []

        class Spy:
            is_fast = True
            get_added_vocab = tokenizer.get_added_vocab

            def __call__(self, text, **options):
                pieces.append(len(text))
                return tokenizer(text, **options)

        texts = list(streaming.cut_between_words(itertools.repeat(chunk, number), Spy()))
        assert "".join(texts) == chunk * number
        # A word is read again with each block, until it is as long as the longest that is allowed.
        is_word = chunk == "a"
        assert sum(pieces) <= (streaming.MAX_WORD_LENGTH // streaming.BLOCK_SIZE if is_word else 2) * number
        assert is_word or max(pieces + [len(text) for text in texts]) <= 4 * streaming.BLOCK_SIZE

    def test_word_that_is_too_long_is_refused(self, reader, tokenizer, monkeypatch):
        monkeypatch.setattr(streaming, "BLOCK_SIZE", 10)
        monkeypatch.setattr(streaming, "MAX_WORD_LENGTH", 40)
        with pytest.raises(ValueError, match=r"document has a word of more than 40 characters.*: 'aaa"):
            reader.classify_stream(["a" * 100], tokenizer)

    @pytest.mark.parametrize("as_path", [str, lambda path: path])
    def test_file(self, reader, tokenizer, tmp_path, as_path):
        path = tmp_path / "text.txt"
        path.write_text(TEXT * 2_000, encoding="utf-8")  # more than is read at a time
        with torch.no_grad():
            expected = reader(**tokenizer(path.read_text(encoding="utf-8"), return_tensors="pt")).logits
        assert_close(reader.classify_stream(as_path(path), tokenizer).logits, expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(
        "as_document",
        [
            lambda ids: iter([ids[:5], ids[5:]]),
            lambda ids: lambda: iter([ids]),
            lambda ids: ids,
            lambda ids: torch.tensor(ids),
            lambda ids: torch.tensor([ids]),
            lambda ids: [torch.tensor(ids, dtype=torch.int32).numpy(), []],
        ],
        ids=["iterator", "function", "list", "vector", "row", "array"],
    )
    def test_token_ids(self, reader, tokenizer, expected, as_document):
        logits = reader.classify_stream(as_document(tokenizer(TEXT)["input_ids"]), window_size=7).logits
        assert_close(logits, expected, atol=1e-5, rtol=1e-4)


class TestErrors:
    def test_of_the_chunks_pass_through(self, reader):
        def chunks():
            yield [1, 2, 3]
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError, match="gone"):
            reader.classify_stream(chunks)

    @pytest.mark.parametrize(
        "document",
        [[], [[]], iter([]), [""], [" \n", ""]],
        ids=["nothing", "an empty list", "an iterator", "an empty text", "white space"],
    )
    def test_empty_document(self, reader, tokenizer, document):
        with pytest.raises(ValueError, match="document is empty"):
            reader.classify_stream(document, tokenizer)

    @pytest.mark.parametrize(
        "text", [TEXT, TEXT * 1_000, "no_such_file.txt", "a\0b"], ids=["short", "long", "path", "null"]
    )
    def test_string_that_names_no_file(self, reader, tokenizer, text):
        with pytest.raises(FileNotFoundError, match=r"there is no such file: pass \[text\] for a text"):
            reader.classify_stream(text, tokenizer)

    def test_bytes(self, reader, tokenizer, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text(TEXT, encoding="utf-8")
        with path.open("rb") as file:
            for document in (b"waves", [b"waves"], ["waves", b"waves"], [[1], b"waves"], file):
                with pytest.raises(TypeError, match=r"document (is|has chunks of|has chunks of text and of) bytes"):
                    reader.classify_stream(document, tokenizer)

    def test_file_that_is_not_utf_8_is_named(self, reader, tokenizer, tmp_path):
        path = tmp_path / "latin.txt"
        path.write_bytes("naïve".encode("latin-1"))
        with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8"):
            reader.classify_stream(path, tokenizer)

    def test_text_without_tokenizer(self, reader):
        with pytest.raises(ValueError, match="tokenizer is None"):
            reader.classify_stream([TEXT])

    def test_numbers_that_are_no_ids(self, reader):
        with pytest.raises(TypeError, match=r"chunks of torch\.float32"):
            reader.classify_stream([[1.0, 2.0]])

    @pytest.mark.parametrize("token", [-1, VOCAB_SIZE, 2**32])
    def test_ids_beyond_the_table(self, token):
        with pytest.raises(IndexError, match="vocab_size=32"):
            tiny_model().classify_stream([[1, token]])

    def test_more_tokens_than_positions(self):
        with pytest.raises(ValueError, match="17 tokens, but max_position_embeddings allows at most 16"):
            tiny_model(max_position_embeddings=16).classify_stream([random_ids(17)], window_size=4)

    def test_window_without_tokens(self, reader):
        with pytest.raises(ValueError, match="window_size is 0"):
            reader.classify_stream([[1]], window_size=0)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text():
    def peak(tokens: int, mode: str) -> float:
        run = [sys.executable, "-c", PEAK_MEMORY, str(tokens), mode]
        return float(subprocess.run(run, check=True, capture_output=True, text=True, timeout=300).stdout)

    # The ids alone of the longer text would take 14 MB more than those of the shorter, as int64.
    assert peak(2_000_000, "inference") < peak(200_000, "inference") + 8
    # All hidden states of one layer would take 512 MB; what is left for backward is a node a window.
    assert peak(2_000_000, "training") < 450


def test_layer_runs_on_a_part_of_a_text_given_the_energy_of_the_whole():
    layer = tiny_model(tiny_model().config).wave.layers[0]
    assert isinstance(layer, WaveLayer)
    text = torch.randn(2, 9, 8)
    total = layer.mixer.variants(text).square().sum(dim=1, keepdim=True)
    assert_close(layer(text[:, 3:5], global_energy=lambda variants: total), layer(text)[:, 3:5])
    whole = token2wave(text)
    part = token2wave(text[:, 3:5], global_energy=text.square().sum(dim=1, keepdim=True))
    assert_close(part, tuple(side[:, 3:5] for side in whole))
