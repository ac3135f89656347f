"""Wave Networks for transformers: `import wave_hf` registers them with the Auto classes.

Zhang & Sheng, "Wave Network", arXiv:2411.02674, and "Token2Wave", arXiv:2411.06989.
"""

import transformers

from . import modeling_wave
from .configuration_wave import MODEL_CLASSES, WaveConfig
from .modeling_wave import *
from .tokenization import train_tokenizer

__version__ = "0.1.0"

transformers.AutoConfig.register(WaveConfig.model_type, WaveConfig, exist_ok=True)
WaveConfig.register_for_auto_class()
for auto_name, model_name in MODEL_CLASSES.items():
    model_class = getattr(modeling_wave, model_name)
    getattr(transformers, auto_name).register(WaveConfig, model_class, exist_ok=True)
    # Every save_pretrained then copies the code, so that the saved folder loads without this package.
    model_class.register_for_auto_class(auto_name)

__all__ = ["WaveConfig", "train_tokenizer"]
__all__ += modeling_wave.__all__
