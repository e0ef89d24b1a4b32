"""A client of the scripts that knows nothing of our Python: a socket, RESP2 and manifest.json.

It stands for clients in other languages, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Bare:
    """One connection; `call` takes the arguments by the names of the manifest."""

    def __init__(self, path: str, exported: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(10)
        self._socket.connect(path)
        self._stream = self._socket.makefile("rwb")
        self._exported = exported
        manifest = json.loads((exported / "manifest.json").read_text())
        self.scripts = {script["name"]: script for script in manifest["scripts"]}

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, *words: str | bytes | int) -> Any:
        """One command and its reply; an error reply is raised."""
        raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self._stream.write(b"*%d\r\n" % len(raw))
        for word in raw:
            self._stream.write(b"$%d\r\n%s\r\n" % (len(word), word))
        self._stream.flush()
        return self._reply()

    def _reply(self) -> Any:
        line = self._stream.readline()
        assert line.endswith(b"\r\n"), "the server closed the connection"
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        return rest

    def load(self) -> None:
        """SCRIPT LOAD every file; the server must find the SHA1 that the manifest tells."""
        for script in self.scripts.values():
            sha = self.send("SCRIPT", "LOAD", (self._exported / script["file"]).read_bytes())
            assert sha.decode() == script["sha1"]

    def call(self, name: str, base: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """EVALSHA; the reply by the names of the first `returns` line."""
        script = self.scripts[name]
        reply = self.send("EVALSHA", script["sha1"], 1, base, *arguments(script, values))
        fields = script["returns"][0]["fields"]
        assert reply[0] == script["returns"][0]["status"].encode(), reply
        return {field["name"]: value for field, value in zip(fields, reply[1:], strict=True)}


def arguments(script: Mapping[str, Any], values: Mapping[str, Any]) -> list[str | bytes | int]:
    """In the order of the manifest; what is out of its ranges is an error here already."""
    flat: list[str | bytes | int] = []
    for arg in script["args"]:
        value = values[arg["name"]]
        if arg["type"] == "int":
            assert arg["min"] <= value <= arg["max"], arg
        if arg["type"] == "word":
            assert value in arg["words"], arg
        if arg["type"] not in ("list", "groups"):
            flat.append(value)
            continue
        assert arg["min"] <= len(value) <= arg["max"], arg
        if arg["type"] == "list":
            flat.append(len(value))
        for item in value:
            flat += [item] if len(arg["each"]) == 1 else [item[name] for name in arg["each"]]
    return flat
