"""Labels, predictions and metrics of each kind of task."""

import numpy as np
import pytest

from wave_hf import WaveConfig
from wave_hf.training.tasks import Task


class TestTask:
    regression = Task("regression", ["LABEL_0"])
    single = Task("single_label_classification", ["no", "yes"])
    multi = Task("multi_label_classification", ["red", "green", "blue"])

    def test_labels_of_the_loss(self):
        assert self.regression.encode(0.5) == 0.5
        assert self.single.encode("yes") == 1
        assert self.multi.encode(["blue", "red"]) == [1.0, 0.0, 1.0]

    def test_predictions_in_words(self):
        logits = np.array([[-0.25], [3.0]])
        assert list(map(self.regression.decode, self.regression.predictions(logits))) == ["-0.250", "3.000"]
        logits = np.array([[1.0, 2.0], [2.0, 1.0]])
        assert list(map(self.single.decode, self.single.predictions(logits))) == ["yes", "no"]
        logits = np.array([[1.0, -2.0, 0.1], [-1.0, -1.0, -1.0]])
        assert list(map(self.multi.decode, self.multi.predictions(logits))) == ["red,blue", ""]

    def test_probabilities(self):
        assert self.single.probabilities(np.array([[0.0, np.log(3)]])) == pytest.approx(np.array([[0.25, 0.75]]))
        assert self.multi.probabilities(np.array([[0.0, 0.0, -50.0]])) == pytest.approx(np.array([[0.5, 0.5, 0.0]]))

    def test_default_metrics(self):
        assert self.regression.default_metrics(np.array([1.0]), np.array([3.0])) == {"mse": 4}
        assert self.single.default_metrics(np.array([1, 0]), np.array([1, 1])) == {"accuracy": 0.5}
        predictions, references = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        assert self.multi.default_metrics(predictions, references) == {"f1": pytest.approx(0.8)}

    def test_config_of_more_than_ten_labels(self, tmp_path):
        task = Task("single_label_classification", [f"topic {i}" for i in range(12)])
        config = WaveConfig()
        task.write_to(config)
        config.save_pretrained(tmp_path)
        assert Task.of_config(WaveConfig.from_pretrained(tmp_path)) == task
