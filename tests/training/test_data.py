"""Held-out rows; the tests of the scripts cover what is read and refused."""

import pytest
from datasets import Dataset

from wave_hf.training.data import hold_out_rows


class TestHoldOutRows:
    rows = Dataset.from_dict({"label": ["often"] * 80 + ["seldom"] * 20})

    def test_classes_keep_their_share(self):
        splits = hold_out_rows(self.rows, 10, seed=0, classes=self.rows["label"])
        assert (len(splits["train"]), len(splits["validation"])) == (90, 10)
        assert splits["validation"]["label"][:].count("seldom") == 2

    def test_choice_depends_on_the_seed_alone(self):
        rows = Dataset.from_dict({"label": list(range(100))})
        choices = [tuple(hold_out_rows(rows, 10, seed, None)["validation"]["label"]) for seed in (0, 0, 1)]
        assert choices[0] == choices[1] != choices[2]

    def test_a_class_of_one_row_is_no_obstacle(self):
        rows = Dataset.from_dict({"label": ["often"] * 19 + ["once"]})
        assert len(hold_out_rows(rows, 10, 0, rows["label"])["validation"]) == 2

    def test_too_few_rows_end_with_one_line(self):
        with pytest.raises(SystemExit, match="Holding out"):
            hold_out_rows(self.rows.take(1), 10, 0, None)
