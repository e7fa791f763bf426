"""A proxy on loopback in front of a server that is slow, or closes every connection half-way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def proxy(port: int, delay: float = 0.0, most: int | None = None) -> Iterator[str]:
    """Its address; every answer waits `delay` seconds, and ends after `most` bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_copy, args=(client, server, 0.0, None), daemon=True).start()
            threading.Thread(target=_copy, args=(server, client, delay, most), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _copy(source: socket.socket, target: socket.socket, delay: float, most: int | None) -> None:
    sent = 0
    with suppress(OSError):
        while content := source.recv(65536):
            time.sleep(delay)
            kept = content if most is None else content[: max(0, most - sent)]
            target.sendall(kept)
            sent += len(kept)
            if most is not None and sent >= most:
                break
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
