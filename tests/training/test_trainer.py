"""The loss of a resumed run, and the file of predictions."""

import pytest

from wave_hf.training.loss_log import logged_loss
from wave_hf.training.trainer import write_predictions


class TestLoggedLoss:
    def test_is_the_mean_of_all_steps(self):
        logs = [{"loss": 4.0, "step": 1}, {"eval_loss": 9.0, "step": 1}, {"loss": 1.0, "step": 3}]
        assert logged_loss(logs) == {"train_loss": 2.0}

    def test_is_unknown_without_logs(self):
        assert logged_loss([{"eval_loss": 9.0, "step": 1}]) == {}


def test_predictions_appear_when_complete(tmp_path):
    file = tmp_path / "predict_results.txt"
    with pytest.raises(ValueError, match="shorter"):
        write_predictions(file, ["prediction", "yes"], [["yes", "no"], ["0.1"]])
    assert not file.exists()
    write_predictions(file, ["prediction", "yes"], [["yes", "no"], ["0.9", "0.1"]])
    assert file.read_text() == "index\tprediction\tyes\n0\tyes\t0.9\n1\tno\t0.1\n"
    assert list(tmp_path.iterdir()) == [file]
