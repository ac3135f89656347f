# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Markdown of model cards and reports, which show labels, texts and names as they are, never as markup."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

# What begins markup inside of a line: HTML, links, images, emphasis, code, cells of tables, mathematics, bare
# addresses; and at the start of a text: headings, lists and rules. An underscore inside of a word begins nothing.
MARKUP = re.compile(
    r"[\\`*\[\]<>|$~@]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|:(?=//)|(?<=www)\."
    r"|^[#+=-](?=[ #+=-]|$)|^\d(?=\d*[.)]( |$))",
    re.IGNORECASE,
)


class Markdown(str):
    """A text that is Markdown already, which `markdown_table` does not escape."""


def escape(text: Any) -> Markdown:
    """Return Markdown that shows a text as it is, in one line: each run of white space becomes a space.

    Markup becomes HTML entities, because viewers that render mathematics do not see that a backslash escapes it.
    """
    line = " ".join(str(text).split())
    return Markdown(MARKUP.sub(lambda match: f"&#{ord(match[0])};", line))


def link(text: str, target: str) -> Markdown:
    """Return a link to a file beside the page."""
    return Markdown(f"[{escape(text)}]({quote(target)})")


def code_block(language: str, code: str) -> Markdown:
    """Return a block of code, whose fence is longer than any in the code."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", code))])
    return Markdown(f"{fence}{language}\n{code}\n{fence}")


def markdown_table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Markdown:
    """Return a table, without a newline at the end. It escapes all cells that are not `Markdown`."""
    lines = [header, [Markdown("---")] * len(header), *rows]
    cells = ([cell if isinstance(cell, Markdown) else escape(cell) for cell in line] for line in lines)
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in cells))
