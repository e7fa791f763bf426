"""Starts a self-hosted server behind the Tinker API (skyrl 0.4.0, JAX) with the interpreter that runs this.

Its own start needs `uv` and Python 3.12; its answers lack the identifiers that newer SDKs ask for. Run it with the
interpreter of the server's environment: `python serve.py --base-model FOLDER --port 8101 ...`.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import typing
from typing import Any

import typing_extensions

typing.TypedDict = typing_extensions.TypedDict  # all that keeps it from Python 3.11


def main() -> None:
    """The engine where the first argument is `engine`, else the server, which starts one."""
    if sys.argv[1:2] == ["engine"]:
        sys.argv[1:2] = []
        runpy.run_module("skyrl.tinker.engine", run_name="__main__", alter_sys=True)
        return
    import uvicorn
    from skyrl.tinker import api
    from skyrl.tinker.config import EngineConfig, add_model, config_to_argv
    from starlette.responses import JSONResponse

    def engine(parent: Any, config: Any) -> list[str]:
        return [sys.executable, __file__, "engine", *config_to_argv(config)]

    api._build_uv_run_cmd_engine = engine

    @api.app.middleware("http")  # type: ignore[untyped-decorator]
    async def name_sequences(request: Any, call_next: Any) -> Any:
        if request.url.path != "/api/v1/asample":
            return await call_next(request)
        count = json.loads(await request.body()).get("num_samples", 1)
        answer = await call_next(request)
        content = json.loads(b"".join([part async for part in answer.body_iterator]))
        if answer.status_code == 200:
            content["sample_sequence_ids"] = [f"{content['request_id']}-{number}" for number in range(count)]
        return JSONResponse(content, answer.status_code)

    parser = argparse.ArgumentParser()
    add_model(parser, EngineConfig)
    parser.add_argument("--port", type=int, required=True)
    given = vars(parser.parse_args())
    settings = {name: value for name, value in given.items() if name in EngineConfig.model_fields}
    api.app.state.engine_config = EngineConfig.model_validate(settings)
    uvicorn.run(api.app, host="127.0.0.1", port=given["port"], log_level="warning", timeout_keep_alive=120)


if __name__ == "__main__":
    main()
