"""The pages of the documentation, and the code in them that tests run.

A comment before a fenced block names what runs it: `<!-- test: run -->`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "examples" / "docs"
PAGES = [README, ROOT / "examples" / "README.md", *sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("model_cards/*.md"))]


def marked_blocks(page: Path, mark: str) -> list[str]:
    """Return the contents of the fenced blocks that follow the comment `<!-- test: MARK -->`, in order."""
    pattern = rf"^<!-- test: {re.escape(mark)} -->\n```\w*\n(.*?)^```$"
    return re.findall(pattern, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def marked_block(page: Path, mark: str) -> str:
    """Return the only block with this mark."""
    (block,) = marked_blocks(page, mark)
    return block
