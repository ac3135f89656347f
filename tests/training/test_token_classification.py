"""How words and tags are read, and found again in tokens."""

from datasets import ClassLabel, Dataset, Features, LargeList, Value

from wave_hf import WaveConfig
from wave_hf.training.labels import infer_token_task
from wave_hf.training.token_classification import (
    NerArguments,
    first_tokens,
    read_tagged_rows,
    select_tagged_splits,
)


def test_large_lists_are_read():
    feature = Features({"tokens": LargeList(Value("string")), "ner_tags": LargeList(ClassLabel(names=["O", "B-X"]))})
    rows = Dataset.from_dict({"tokens": [["a", "b"]], "ner_tags": [[0, 1]]}, feature)
    splits = select_tagged_splits({"train": rows}, NerArguments(), {"train"})
    task = infer_token_task(WaveConfig(), splits, "tags")
    read = read_tagged_rows(splits, task, NerArguments(), {"train"}, seed=0)["train"]
    assert read.to_list() == [{"tokens": ["a", "b"], "label": ["O", "B-X"]}]


def test_first_tokens():
    assert first_tokens([None, 0, 0, 1, None]) == {0: 1, 1: 3}
    assert first_tokens([None, 1, 3, 3, None]) == {1: 1, 3: 2}
