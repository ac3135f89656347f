"""Wave Networks for transformers: `import wave_hf` registers them with the Auto classes.

Zhang & Sheng, "Wave Network", arXiv:2411.02674, and "Token2Wave", arXiv:2411.06989.
"""

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from .configuration_wave import WaveConfig
from .modeling_wave import (
    WaveForSequenceClassification,
    WaveLayer,
    WaveModel,
    WavePreTrainedModel,
    global_magnitude,
    readout,
    token2wave,
    wave_interference,
    wave_modulation,
)
from .tokenization import train_tokenizer

__version__ = "0.1.0"

AutoConfig.register(WaveConfig.model_type, WaveConfig, exist_ok=True)
AutoModel.register(WaveConfig, WaveModel, exist_ok=True)
AutoModelForSequenceClassification.register(WaveConfig, WaveForSequenceClassification, exist_ok=True)

# Every save_pretrained then carries the code, so that the saved folder needs only transformers.
WaveConfig.register_for_auto_class()
WaveModel.register_for_auto_class("AutoModel")
WaveForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = [
    "WaveConfig",
    "WaveForSequenceClassification",
    "WaveLayer",
    "WaveModel",
    "WavePreTrainedModel",
    "global_magnitude",
    "readout",
    "token2wave",
    "train_tokenizer",
    "wave_interference",
    "wave_modulation",
]
