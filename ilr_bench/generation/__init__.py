"""Engines that sample completions, and what they share."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    agent="Agent Prompt",
    dispatch="sample_all",
    engine="Completion Engine SamplingOptions SamplingRequest",
    hf_engine="TransformersEngine",
    vllm_engine="VllmEngine",
)
