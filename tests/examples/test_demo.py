"""Tests of the demo: its answers, the models that it accepts, and the page in a browser."""

import re
import shutil
import socket

import demo
import pytest
import torch
from builders import tiny_model
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from wave_hf.analysis import TokenShares

WORDS = ["[UNK]", "the", "surf", "was", "not", "<b>loud</b>"]
NAMES = {0: "calm", 1: "<i>wild</i>", 2: "dry"}
TEXT = "the surf was <b>loud</b>"


@pytest.fixture
def tokenizer():
    """Return a tokenizer that leaves markup whole, which most would cut into harmless pieces."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")


@pytest.fixture
def save(tokenizer, tmp_path):
    """Return a function that saves a tiny model with its tokenizer and returns the folder."""

    def save_model(**fields):
        tiny_model(**fields).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        return str(tmp_path / "model")

    return save_model


def logits_of(model, tokenizer):
    return model(**tokenizer(TEXT, return_tensors="pt")).logits[0].detach()


def test_classes_of_one_label_have_probabilities_that_add_up(tokenizer):
    model = tiny_model(id2label=NAMES)
    classes, _ = demo.classify(model, tokenizer, TEXT)
    assert list(classes) == list(NAMES.values())
    assert sum(classes.values()) == pytest.approx(1)
    assert max(classes, key=classes.get) == NAMES[int(logits_of(model, tokenizer).argmax())]


def test_classes_of_several_labels_have_a_probability_each(tokenizer):
    model = tiny_model(problem_type="multi_label_classification")
    classes, _ = demo.classify(model, tokenizer, TEXT)
    assert list(classes.values()) == pytest.approx(torch.sigmoid(logits_of(model, tokenizer)).tolist())


def test_a_regression_has_a_value(tokenizer):
    model = tiny_model(num_labels=1)
    value, _ = demo.classify(model, tokenizer, TEXT)
    assert value == f"LABEL_0: {logits_of(model, tokenizer).item():.3f}"


def test_a_text_that_is_too_long_for_a_page_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"^The text has 5,000,000 characters, but may have at most 20,000 here\.$"):
        demo.classify(tiny_model(), tokenizer, "wave " * 1_000_000)


def test_tokens_are_text_on_the_color_of_their_shares():
    shares = torch.tensor([[9.0, 0.5], [9.0, -0.25]])
    analysis = TokenShares(["<b>loud</b>", "##er"], shares, torch.tensor([9.0, 0.1]), torch.tensor([9.0, 0.35]))
    html = demo.draw(analysis, 1, "<i>wild</i>")
    marks = re.findall(r"background: (#\w{6})(\w\w);.*?>(.*?) <small>(.*?)</small>", html)
    assert marks == [
        (demo.BLUE, "99", "&lt;b&gt;loud&lt;/b&gt;", "+0.50"),
        (demo.ORANGE, "4d", "##er", "-0.25"),
    ]
    assert "&lt;i&gt;wild&lt;/i&gt;</b>: shares of +0.25 and a bias of +0.10 add up to the logit +0.35" in html


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "max"}, "pooling of the model is 'max', but token shares need 'mean'"),
        ({"vocab_size": 5}, "the tokenizer has ids up to 5, but the token table has only 5 rows"),
    ],
)
def test_a_model_without_shares_is_refused(save, fields, message):
    with pytest.raises(SystemExit, match=message):
        demo.load(save(**fields))


def test_a_model_must_be_named():
    with pytest.raises(SystemExit, match="pass --model_name_or_path, or set the environment variable"):
        demo.load(None)


@pytest.mark.parametrize("folder", ["nowhere", "without-tokenizer", "impossible-config"])
def test_a_folder_that_is_no_model_is_named_in_one_line(folder, tmp_path):
    tiny_model().save_pretrained(tmp_path / "without-tokenizer")
    (tmp_path / "impossible-config").mkdir()
    (tmp_path / "impossible-config" / "config.json").write_text('{"model_type": "wave_network", "hidden_size": -8}')
    with pytest.raises(SystemExit, match=folder) as error:
        demo.load(str(tmp_path / folder))
    assert "\n" not in error.value.code


@pytest.fixture
def browser(tmp_path):
    """Return a browser without a window."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for name in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"):
        options.add_argument(f"--{name}")
    for name in ("disable-background-networking", "disable-component-update", f"user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(f"--{name}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def address(save, start_process, monkeypatch):
    """Return the address of the demo, which runs as a Space would run it: without arguments."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(port))
    monkeypatch.setenv("MODEL_NAME_OR_PATH", save(id2label=NAMES, max_position_embeddings=8))
    process = start_process(demo.__file__)
    lines = iter(process.stdout.readline, "")  # ends if the demo does
    assert any("Running on" in line for line in lines), process.stderr.read()
    return f"http://127.0.0.1:{port}/"


@pytest.mark.slow
def test_a_person_types_a_text_and_sees_classes_and_tokens(browser, address, tokenizer):
    def submit(text):
        browser.find_element(By.TAG_NAME, "textarea").clear()
        browser.find_element(By.TAG_NAME, "textarea").send_keys(text)
        browser.find_element(By.XPATH, "//button[text()='Submit']").click()

    def wait_for(text):
        WebDriverWait(browser, 60).until(lambda _: text in browser.find_element(By.TAG_NAME, "body").text)

    browser.get(address)
    WebDriverWait(browser, 60).until(lambda _: browser.find_elements(By.TAG_NAME, "textarea"))
    submit(TEXT)
    wait_for("add up to the logit")

    classes, html = demo.classify(tiny_model(id2label=NAMES, max_position_embeddings=8), tokenizer, TEXT)
    seen = browser.find_element(By.TAG_NAME, "body").text
    assert browser.find_element(By.TAG_NAME, "h2").text == max(classes, key=classes.get)
    assert all(f"{name}\n{probability:.0%}" in seen for name, probability in classes.items())
    marks = [mark.text for mark in browser.find_elements(By.TAG_NAME, "mark")]
    assert [mark.split()[0] for mark in marks] == TEXT.split()
    assert [mark.split()[1] for mark in marks] == re.findall(r"<small>(.*?)</small>", html)
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert fetched
    assert all(url.startswith(address) for url in fetched)

    submit("the surf " * 5)
    wait_for("The texts have 10 tokens, but max_position_embeddings allows at most 8.")
