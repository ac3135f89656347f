"""Wave Networks for transformers: `import wave_hf` registers them with the Auto classes.

Zhang & Sheng, "Wave Network", arXiv:2411.02674, and "Token2Wave", arXiv:2411.06989.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from .configuration_wave import WaveConfig
from .modeling_wave import (
    WaveForMaskedLM,
    WaveForMultipleChoice,
    WaveForQuestionAnswering,
    WaveForSequenceClassification,
    WaveForTokenClassification,
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
WaveConfig.register_for_auto_class()
for auto_class, model_class in {
    AutoModel: WaveModel,
    AutoModelForMaskedLM: WaveForMaskedLM,
    AutoModelForMultipleChoice: WaveForMultipleChoice,
    AutoModelForQuestionAnswering: WaveForQuestionAnswering,
    AutoModelForSequenceClassification: WaveForSequenceClassification,
    AutoModelForTokenClassification: WaveForTokenClassification,
}.items():
    auto_class.register(WaveConfig, model_class, exist_ok=True)
    # Every save_pretrained then carries the code, so that the saved folder needs only transformers.
    model_class.register_for_auto_class(auto_class.__name__)

__all__ = [
    "WaveConfig",
    "WaveForMaskedLM",
    "WaveForMultipleChoice",
    "WaveForQuestionAnswering",
    "WaveForSequenceClassification",
    "WaveForTokenClassification",
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
