"""The former name of `wave_hf.documentation_corpus`."""

from .documentation_corpus import LIBRARIES, load_documentation_corpus

load_embedded_corpus = load_documentation_corpus

__all__ = ["LIBRARIES", "load_embedded_corpus"]
