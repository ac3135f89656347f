"""Looking into Wave Networks; `python -m wave_hf.analysis MODEL_DIR --out DIR` writes a report of it all."""

from ..waves import magnitude
from .attribution import Attribution, TokenShares, integrated_gradients, token_shares
from .complexity import Cost, cost
from .gradients import GradientRecorder
from .independence import Independence, measure_independence
from .waves import LayerWaves, TextWaves, interference_pattern, phase, waves

__all__ = [
    "Attribution",
    "Cost",
    "GradientRecorder",
    "Independence",
    "LayerWaves",
    "TextWaves",
    "TokenShares",
    "cost",
    "integrated_gradients",
    "interference_pattern",
    "magnitude",
    "measure_independence",
    "phase",
    "token_shares",
    "waves",
]
