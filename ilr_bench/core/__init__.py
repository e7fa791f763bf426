"""Configuration, names, errors, seeds and signals: what every other package builds on, without torch."""

from ilr_bench.core.lazy import public

__getattr__, __all__ = public(
    __name__,
    config="RunConfig change content_hash from_dict to_dict",
    errors="ConfigurationError IlrError MissingInputError StoreError",
    profiles="profile",
    registry="Registry",
    seeds="derive_seed",
)
