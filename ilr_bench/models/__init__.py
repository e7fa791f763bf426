"""Model weights and tokenizers: which there are, where they come from, and how they are loaded."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    catalogue="MODELS ModelEntry",
    loading="LoadedModel load_model",
)
