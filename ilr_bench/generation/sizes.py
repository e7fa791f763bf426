"""Sizes that decide what sampling and updating hold in memory; `plan` reads them without torch."""

from __future__ import annotations

LARGE = 2**26
"""Logits of a forward from which on they are computed in pieces: 256 MiB each time they are kept."""
PIECE = 2**24
"""Logits of a piece: 64 MiB, a matrix product large enough to lose nothing by."""
PLAIN_HEADS = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Architectures whose logits are their last linear layer's output and nothing else: only these are taken in pieces."""
VLLM_CACHE = {"cpu": 2**30, "cuda": 16 * 2**30}
"""Bytes of keys and values that a vLLM instance keeps. Not what the machine has left: the size decides which rows
share a batch."""
