"""Looking into Wave Networks; `python -m wave_hf.analysis MODEL_DIR --out DIR` writes a report of it all."""

from .attribution import TokenShares, token_shares

__all__ = ["TokenShares", "token_shares"]
