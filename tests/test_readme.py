"""Tests that the code of the pages runs, and that everything they name exists."""

import re
from pathlib import Path

import pytest
import torch
from builders import tiny_model
from pages import DOCS, PAGES, README, ROOT, marked_block, marked_blocks
from transformers import AutoModelForSequenceClassification

from wave_hf import train_tokenizer

# `run` and `tree` are read here; tests of what the other marks name run the other blocks.
MARKS = {"run", "tree", "hub", "onnxruntime", "torchrun", "folded"}


def run_blocks(page: Path) -> dict:
    """Run the Python of a page from top to bottom and return its names."""
    names: dict = {}
    exec(compile("\n".join(marked_blocks(page, "run")), page.name, "exec"), names)
    return names


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
def test_python_of_the_readme_trains_a_classifier(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(README)

    assert names["real"].shape == names["imag"].shape == (2, 10, 64)
    assert names["hidden_states"].shape == (2, 10, 64)
    # The folder holds what was trained, and what was trained is better than a guess.
    for options in ({}, {"trust_remote_code": True}):
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "waves", **options)
        assert loaded.config.id2label == names["config"].id2label
        rows = names["corpus"]["validation"].select(range(512))
        batch = names["tokenizer"](list(rows["text"]), padding=True, return_tensors="pt")
        with torch.no_grad():
            predictions = loaded(**batch).logits.argmax(dim=-1)
        assert (predictions == torch.tensor(rows["label"])).float().mean() > 0.5


@pytest.fixture
def waves(tmp_path, monkeypatch):
    """Save a classifier where the pages on topics expect that of the README."""
    monkeypatch.chdir(tmp_path)
    tokenizer = train_tokenizer(README.read_text(encoding="utf-8").splitlines(), vocab_size=300)
    tokenizer.save_pretrained("waves")
    tiny_model(hidden_size=80, vocab_size=len(tokenizer)).save_pretrained("waves")


def test_analysis_explains_the_logits(waves):
    names = run_blocks(DOCS / "analysis.md")
    shares = names["shares"]
    torch.testing.assert_close(shares.shares.sum(dim=0) + shares.bias, shares.logits)
    assert names["angles"].shape == (len(shares.tokens), 80)
    assert names["attribution"].tokens == shares.tokens
    assert names["flops"] > 0


def test_export_makes_the_token_table_smaller(waves):
    names = run_blocks(DOCS / "export.md")
    table = names["model"].get_input_embeddings()
    assert (table.num_embeddings, table.embedding_dim) == (len(names["tokenizer"]), 64)


def test_heads_start_from_the_weights_of_another(waves):
    names = run_blocks(DOCS / "heads.md")
    trained, loaded = names["masked_lm"].wave.state_dict(), names["classifier"].wave.state_dict()
    assert trained.keys() == loaded.keys()
    assert all(torch.equal(trained[name], loaded[name]) for name in trained)


def test_long_texts_are_classified_as_by_one_forward_pass(waves):
    names = run_blocks(DOCS / "long_texts.md")
    text = "A long text, piece by piece. " * 1_000
    with torch.no_grad():
        expected = names["model"](**names["tokenizer"](text, return_tensors="pt")).logits
    torch.testing.assert_close(names["logits"], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_integrations_load_the_model(waves):
    pytest.importorskip("peft", reason="peft is not installed")
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    names = run_blocks(DOCS / "integrations.md")
    assert names["vectors"].shape == (2, 80)
    assert 0 < names["model"].get_nb_trainable_parameters()[0] < names["model"].get_nb_trainable_parameters()[1]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_marks_are_those_that_tests_run(page):
    text = page.read_text(encoding="utf-8")
    marks = re.findall(r"<!-- test: (.*?) -->", text)
    assert set(marks) <= MARKS
    # A comment that is not right before a block would run nothing.
    assert all(len(marked_blocks(page, mark)) == marks.count(mark) for mark in set(marks))


def test_readme_names_one_command_for_the_tests():
    # .ci/run takes the first line of this form.
    commands = re.findall(r"^pip install .*pytest.*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert commands == ["pip install -e '.[test]' && pytest"]


def heading_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in heading_anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_named_scripts_modules_and_recipes_exist(page):
    text = page.read_text(encoding="utf-8")
    files = re.findall(r"\b(?:examples|wave_hf|tests|model_cards)/[\w./-]*\w", text)
    modules = [name.replace(".", "/") for name in re.findall(r"python\s-m\s(wave_hf[\w.]*)", text)]
    recipes = re.findall(r"--config_name\s+([a-z][\w/-]*)", text)
    paths = [
        *files,
        *(name if (ROOT / name).is_dir() else f"{name}.py" for name in modules),
        *(f"wave_hf/recipes/{name}/config.json" for name in recipes),
    ]
    missing = sorted({path for path in paths if not (ROOT / path).exists()})
    assert not missing


def test_folders_of_the_readme_exist():
    folder, missing = ROOT, []
    for line in marked_block(README, "tree").splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = ROOT / name
        path = folder / name if line.startswith(" ") else folder
        missing += [] if path.exists() else [str(path.relative_to(ROOT))]
    assert not missing
