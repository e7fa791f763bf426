"""Training through two self-hosted servers on loopback: `nox -s tinker`."""
