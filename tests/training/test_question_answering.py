"""Every form in which questions come is read as the same rows."""

import json

import pytest

from wave_hf.training.data import load_file
from wave_hf.training.question_answering import QaArguments, read_questions

QUESTIONS = [
    {
        "id": "sea",
        "question": "Which color has the sea?",
        "context": "The sea was dark blue.",
        "answers": {"text": ["dark blue", "blue"], "answer_start": [12, 17]},
    },
    {
        "id": "sky",
        "question": "Which color has the sky?",
        "context": "Nobody saw the sky.",
        "answers": {"text": [], "answer_start": []},
    },
]


def one_by_one(answers):
    """Return answers as a list with both fields, and another one, for each."""
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    return [{"text": text, "answer_start": start, "answer_id": 7} for text, start in pairs]


def article():
    """Return the questions as SQuAD's own files have them: those of version 2 also have plausible answers."""
    paragraphs = [
        {
            "context": row["context"],
            "qas": [{"id": row["id"], "question": row["question"], "answers": one_by_one(row["answers"])}],
        }
        for row in QUESTIONS
    ]
    paragraphs[1]["qas"][0] |= {"is_impossible": True, "plausible_answers": [{"text": "sky", "answer_start": 15}]}
    return {"title": "Colors", "paragraphs": paragraphs}


FORMS = {
    "rows": QUESTIONS,
    "rows under data": {"version": "1.1", "data": QUESTIONS},
    "articles under data": {"version": "v2.0", "data": [article()]},
    "articles": [article()],
    "answers one by one": [row | {"answers": one_by_one(row["answers"])} for row in QUESTIONS],
    "answers with another field": [row | {"answers": row["answers"] | {"answer_id": [7, 8]}} for row in QUESTIONS],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path, form):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(FORMS[form]))
    rows = read_questions({"train": load_file(str(file))}, QaArguments(), {"train"}, seed=0)["train"]
    assert rows.to_list() == QUESTIONS


def test_questions_to_predict_need_no_answers(tmp_path):
    file = tmp_path / "rows.json"
    questions = [{"question": "Which?", "context": "The sea."}, {"question": None, "context": 7}]
    file.write_text(json.dumps({"data": questions}))
    rows = read_questions({"test": load_file(str(file))}, QaArguments(), {"test"}, seed=0)["test"]
    assert rows.to_list() == [
        {"id": "0", "question": "Which?", "context": "The sea."},
        {"id": "1", "question": "", "context": "7"},
    ]
