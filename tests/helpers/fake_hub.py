"""A hub on this machine: the addresses that huggingface_hub calls to make a model's repository and upload a folder.

Only what those calls need, by the legacy path of large files (`HF_HUB_DISABLE_XET=1`): Xet's protocol is not there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_of_a_test"
USER = "somebody"


@dataclass
class Repository:
    """A model on the hub."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class FakeHub:
    """What the hub holds, what it was asked, and what it refuses."""

    models: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Method and path of every request."""
    refuses: str = ""
    """End of the paths that get status 403, such as `commit/main`."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    address: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What makes huggingface_hub call this one, as somebody who is logged in."""
        return {
            "HF_ENDPOINT": self.address, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }  # fmt: skip

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any]:
        """Status and JSON."""
        self.asked.append(f"{method} {path}")
        if path.startswith("/blobs/"):
            oid = path.removeprefix("/blobs/")
            self.blobs[oid] = body
            return (200, {}) if hashlib.sha256(body).hexdigest() == oid else (400, {"error": "another content"})
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid user token."}
        if self.refuses and path.endswith(self.refuses):
            return 403, {"error": "You may not do that here."}
        if path == "/api/whoami-v2":
            return 200, {"type": "user", "name": USER, "auth": {"type": "access_token"}}
        if path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            front = yaml.safe_load(card.split("---\n")[1])
            known = isinstance(front.get("library_name"), str)
            return (200, {"errors": [], "warnings": []}) if known else (400, {"errors": [{"message": "no library"}]})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [one | {"actions": self._upload(one["oid"])} for one in json.loads(body)["objects"]]
            return 200, {"transfer": "basic", "objects": objects}
        _, _, kind, owner, name, action, *_ = [*path.split("/"), "", "", "", "", "", ""]
        repository = self.models.get(f"{owner}/{name}")
        if kind != "models" or repository is None:
            return 404, {"error": "Repository not found"}
        if action == "preupload":
            return 200, {"files": [self._mode(one["path"]) for one in json.loads(body)["files"]]}
        if action == "commit":
            return self._commit(repository, body, f"{owner}/{name}")
        return 200, {"id": f"{owner}/{name}", "private": repository.private, "siblings": []}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked.get('organization') or USER}/{asked['name']}"
        url = {"url": f"{self.address}/{name}", "name": name}
        if name in self.models:
            return 409, url | {"error": "You already created this model repo"}
        self.models[name] = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
        return 200, url

    def _upload(self, oid: str) -> dict[str, Any]:
        return {"upload": {"href": f"{self.address}/blobs/{oid}"}}

    def _mode(self, path: str) -> dict[str, Any]:
        large = path.endswith((".safetensors", "tokenizer.json"))
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}

    def _commit(self, repository: Repository, body: bytes, name: str) -> tuple[int, Any]:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            else:
                repository.files[value["path"]] = self.blobs[value["oid"]]
        oid = f"{len(repository.commits):040x}"
        return 200, {"commitUrl": f"{self.address}/{name}/commit/{oid}", "commitOid": oid, "success": True}


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that listens while the context lasts."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        """Passes every request to the hub."""

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            status, answer = hub.answer(self.command, path, body, self.headers.get("Authorization") or "")
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status >= 400:
                self.send_header("X-Error-Message", str(answer.get("error", "")))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - http.server looks for these names

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
