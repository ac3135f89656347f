# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Markdown shows every label and text as it is: a renderer finds no markup in them."""

from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wave_hf.markdown import code_block, escape, link, markdown_table

markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py renders the pages")

RENDERER = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = [
    "<img src=https://example.com/a.png onerror=alert(1)>",
    "![an image](https://example.com/a.png)",
    "[a link](javascript:alert(1))",
    "a](https://example.com)",
    "label\n\n# Heading\n\n- item",
    "# Heading",
    "1. item",
    "12) item",
    "--- rule",
    "> quote",
    "-",
    "===",
    "`code` and ```fence```",
    "*emphasis* _emphasis_ __strong__ ~~gone~~",
    "a | b",
    "$x$ and $$y$$ and \\(z\\)",
    "&lt;b&gt; &#36; & so on",
    "\\",
    "https://example.com www.example.com me@example.com",
]


class Elements(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, markdown):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(RENDERER.render(markdown))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, text):
        self.words += text


def shown(text):
    return " ".join(text.split())


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_no_markup(text):
    for before, tags in (("", ["p"]), ("A label: ", ["p"]), ("> ", ["blockquote", "p"]), ("- ", ["ul", "li"])):
        page = Elements(before + escape(text))
        assert page.tags == tags
        assert page.words.strip() == shown(before.lstrip(">-") + text)


@given(st.text(st.sampled_from("ab1 \n\\`*_{}[]()<>#+-.!|~$&:/@=\"'") | st.characters(codec="utf-8")))
def test_no_text_is_markup(text):
    page = Elements("A label: " + escape(text))
    assert page.tags == ["p"]
    assert shown(page.words) == shown(f"A label: {text}".replace("\0", "\ufffd"))


@pytest.mark.parametrize("text", TEXTS)
def test_viewers_of_mathematics_and_addresses_find_none(text):
    for sign in ("$", "\\(", "://", "www.", "@"):
        assert sign not in escape(text)
    assert unescape(escape(text)) == shown(text) or "&" in text


@pytest.mark.parametrize(
    "text", ["LABEL_0", "R & D", "wave-small", "AG News (test)", "c. 5 %", "not so bad!", "-1", "2.5", "#1"]
)
def test_plain_names_stay_readable(text):
    assert escape(text) == text


def test_table():
    table = markdown_table(["name", "accuracy"], [["waves", "91.5%"], ["surf", 7]])
    assert table.splitlines() == ["| name | accuracy |", "| --- | --- |", "| waves | 91.5% |", "| surf | 7 |"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_cell_stays_in_its_cell(text):
    page = Elements(markdown_table([text, text], [[text, text]]))
    assert page.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert page.words.split() == 4 * text.split()


@pytest.mark.parametrize("text", TEXTS)
def test_a_link_leads_to_its_file(text):
    html = RENDERER.render(link(text, "a (file) [of] results.md"))
    assert html.startswith('<p><a href="a%20%28file%29%20%5Bof%5D%20results.md">')
    assert Elements(link(text, "a.md")).tags == ["p", "a"]


@pytest.mark.parametrize("code", ["python run.py", "python run.py '```\n# Heading\n```'", "````", ""])
def test_code_stays_in_its_block(code):
    page = Elements(f"Before\n\n{code_block('bash', code)}\n\nAfter")
    assert page.tags == ["p", "pre", "code", "p"]
    assert code in page.words
