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
from builders import ALL_PARTS, HEADS, random_ids, tiny_config
from transformers.models.auto import modeling_auto as auto

from wave_hf import WaveConfig, WaveModel

if not os.environ.get("TRANSFORMERS_TESTS"):
    pytest.skip("TRANSFORMERS_TESTS does not name a checkout of transformers", allow_module_level=True)
sys.path.insert(0, os.environ["TRANSFORMERS_TESTS"])

from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin


class WaveModelTester:
    """Tells the suite what to test: a network with every part, on texts padded on the right."""

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


# From these tables the suite knows which class takes labels.
@patch.dict(auto.MODEL_MAPPING_NAMES, wave_network="WaveModel")
@patch.dict(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, wave_network="WaveForMaskedLM")
@patch.dict(auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES, wave_network="WaveForMultipleChoice")
@patch.dict(auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES, wave_network="WaveForQuestionAnswering")
@patch.dict(auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES, wave_network="WaveForSequenceClassification")
@patch.dict(auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES, wave_network="WaveForTokenClassification")
class WaveModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (WaveModel, *HEADS)
    has_attentions = False

    def setUp(self):
        self.model_tester = WaveModelTester()

    def test_config(self):
        properties = ["hidden_size", "num_hidden_layers"]
        ConfigTester(self, config_class=WaveConfig, common_properties=properties, hidden_size=16).run_common_tests()
