"""Which models there are, and what each still needs."""

from __future__ import annotations

from ilr_bench.cli.app import app, say_rows
from ilr_bench.core.console import fail_in_one_line, note


@app.command()
def models() -> None:
    """Lists the models that can be named: what they are, where they come from, licence, whether they are ready."""
    from ilr_bench.models.catalogue import MODELS, cache_folder
    from ilr_bench.models.sources import HUB_MODELS, is_downloaded

    with fail_in_one_line():
        rows = [("name", "what it is", "comes from", "licence", "on this machine")]
        for name in MODELS.names():
            entry = MODELS.get(name)
            rows.append((name, entry.summary, entry.source, entry.licence, entry.state()))
        for model in HUB_MODELS:
            state = "downloaded" if is_downloaded(model.name) else "not downloaded"
            rows.append((model.name, model.summary, "the hub", model.licence, state))
        say_rows(rows)
        note("any folder that from_pretrained reads, .gguf file or hub name (owner/model) works in their place")
        note(f"prepared models are kept in {cache_folder()}; ILR_BENCH_CACHE names another folder")
