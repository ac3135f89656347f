"""Runs transformers' own tests of models and configs on ours.

The installed package does not hold them: the environment variable TRANSFORMERS_TESTS names a checkout of transformers,
of the version that is installed.
"""

import os
import sys
import unittest
from unittest.mock import patch

import pytest
import torch
from builders import ALL_PARTS, AUTO_CLASSES, random_ids, tiny_config

from wave_hf import WaveConfig

if not os.environ.get("TRANSFORMERS_TESTS"):
    pytest.skip("TRANSFORMERS_TESTS does not name a checkout of transformers", allow_module_level=True)
sys.path.insert(0, os.environ["TRANSFORMERS_TESTS"])

from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin


class WaveModelTester:
    """What the suite tests: a network with every part, on texts padded on the right."""

    batch_size, seq_length = 5, 7
    hidden_size = 8
    num_hidden_layers = 2
    num_choices = 4
    is_training = True

    def get_config(self):
        return tiny_config(**ALL_PARTS)

    def prepare_config_and_inputs_for_common(self):
        input_ids = random_ids(self.batch_size, self.seq_length)
        attention_mask = torch.ones_like(input_ids)
        attention_mask[1:, -2:] = 0
        return self.get_config(), {"input_ids": input_ids, "attention_mask": attention_mask}


class WaveModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = tuple(AUTO_CLASSES.values())
    has_attentions = False

    def setUp(self):
        self.model_tester = WaveModelTester()

    def test_config(self):
        properties = ["hidden_size", "num_hidden_layers"]
        ConfigTester(self, config_class=WaveConfig, common_properties=properties, hidden_size=16).run_common_tests()


# From these tables the suite knows which class takes labels.
for auto_class, model_class in AUTO_CLASSES.items():
    names = auto_class._model_mapping._model_mapping
    WaveModelTest = patch.dict(names, wave_network=model_class.__name__)(WaveModelTest)
