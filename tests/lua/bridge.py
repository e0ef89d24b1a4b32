"""Runs a bundle in a Lua 5.1 of this process, its `redis.call` bridged to a real server.

Redis has no debug library, so the lines that run can't be counted there. Here they can: same text,
same commands, another interpreter. The client speaks RESP2, as scripts do: under RESP3 they would
see pairs and doubles where Redis shows them flat text. `struct`, which Redis brings along, is
written out below for the letters that the scripts use.
"""

from __future__ import annotations

import re
import struct as packing
from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis
from lupa import lua51

from pyclient.scripts import Script

_LETTER = re.compile(r"(>)|(B)|(c0)|I(\d*)")
# Lines without an instruction of their own: a lone `break` is folded into the jump that reaches it.
_ENDS = re.compile(r"^(end|else|until|break)?[\s)}\],;]*$")
_RUN = b"""
local text, name, keys, argv, call, pack, unpack_, note = ...
local struct = { pack = pack, unpack = function(...) return unpack(unpack_(...)) end }
local redis = { call = function(...)
  local answer = call(...)
  if not answer[1] then error({ err = answer[2] }, 0) end
  return answer[2]
end, pcall = function(...)
  local answer = call(...)
  return answer[1] and answer[2] or { err = answer[2] }
end }
local chunk = assert(loadstring(text, '=' .. name))
setfenv(chunk, setmetatable({ redis = redis, struct = struct, KEYS = keys, ARGV = argv },
  { __index = _G }))
debug.sethook(function(_, line)
  if debug.getinfo(2, 'S').source == '=' .. name then note[line] = (note[line] or 0) + 1 end
end, 'l')
local done, value = pcall(chunk)
debug.sethook()
if done then return true, value end
return false, type(value) == 'table' and value.err or tostring(value)
"""


class Bridge:
    """Scripts in an interpreter of our own; counts the lines that ran."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=False)
        self.run = self.lua.execute(b"return function(...) " + _RUN + b" end")
        self.hits: dict[str, Counter[int]] = {}

    def call(self, script: Script, prefix: str, args: list[bytes]) -> Any:
        """As EVALSHA would answer; an error reply is raised as redis-py does."""
        body = script.text.partition(b"\n")[2]
        notes = self.lua.table()
        done, value = self.run(
            b"\n" + body,
            script.name.encode(),
            self.lua.table(prefix.encode()),
            self.lua.table(*args),
            self._command,
            self._pack,
            self._unpack,
            notes,
        )
        lines = self.hits.setdefault(script.name, Counter())
        lines.update({int(line): int(count) for line, count in notes.items()})
        if not done:
            raise redis.ResponseError(value.decode("latin-1"))
        return self._reply(value)

    def _command(self, *words: Any) -> Any:
        connection = self.client.connection_pool.get_connection()
        try:
            connection.send_command(*(_word(word) for word in words))
            return self.lua.table(True, self._value(connection.read_response()))
        except redis.ResponseError as error:
            return self.lua.table(False, str(error).encode())
        finally:
            self.client.connection_pool.release(connection)

    def _value(self, reply: Any) -> Any:
        if reply is None:
            return False
        if isinstance(reply, list):
            return self.lua.table(*(self._value(item) for item in reply))
        return reply

    def _reply(self, value: Any) -> Any:
        """A table up to its first hole, numbers cut to integers: what Redis makes of a return."""
        if isinstance(value, bytes | int) and not isinstance(value, bool):
            return value
        if isinstance(value, float):
            return int(value)
        if value is None or value is False:
            return None
        items = []
        for at in range(1, len(value) + 1):
            if value[at] is None:
                break
            items.append(self._reply(value[at]))
        return items

    def _pack(self, form: bytes, *values: Any) -> bytes:
        out, left = b"", list(values)
        for letter in _letters(form):
            if letter == "c0":
                out += left.pop(0)
            elif letter != ">":
                out += int(left.pop(0)).to_bytes(int(letter), "big")
        return out

    def _unpack(self, form: bytes, data: bytes, start: float = 1) -> Any:
        out: list[Any] = []
        at = int(start) - 1
        for letter in _letters(form):
            if letter == ">":
                continue
            size = int(out.pop()) if letter == "c0" else int(letter)
            part = data[at : at + size]
            if len(part) < size:
                raise packing.error("data string too short")
            out.append(part if letter == "c0" else int.from_bytes(part, "big"))
            at += size
        return self.lua.table(*out, at + 1)


def _letters(form: bytes) -> Iterator[str]:
    for big, byte, text, size in _LETTER.findall(form.decode()):
        yield ">" if big else "1" if byte else "c0" if text else size or "4"


def _word(value: Any) -> Any:
    """A number as Redis writes it (%.17g), so without a fraction where it has none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def lines_of(script: Script) -> set[int]:
    """Lines of a bundle that hold an instruction, read from the compiled chunk; those that only
    close a block are left out (a return before them makes them unreachable)."""
    body = b"\n" + script.text.partition(b"\n")[2]
    lua = lua51.LuaRuntime(encoding=None)
    dump = lua.execute(b"return function(text) return string.dump(assert(loadstring(text))) end")
    found = _Chunk(dump(body)).lines()
    texts = script.text.decode().split("\n")
    return {line for line in found if not _ENDS.match(texts[line - 1])}


class _Chunk:
    """Just enough of Lua 5.1's binary format to list the lines of all functions."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.found = data, 12, set[int]()
        self.size_t = data[8]

    def lines(self) -> set[int]:
        self._function()
        return self.found

    def _int(self, size: int = 4) -> int:
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "little")

    def _skip(self, size: int) -> None:
        self.at += size

    def _text(self) -> None:
        self._skip(self._int(self.size_t))

    def _function(self) -> None:
        self._text()
        self._skip(12)
        self._skip(4 * self._int())
        for _ in range(self._int()):
            kind = self._int(1)
            if kind == 4:
                self._text()
            else:
                self._skip({0: 0, 1: 1, 3: 8}[kind])
        for _ in range(self._int()):
            self._function()
        self.found.update(self._int() for _ in range(self._int()))
        for _ in range(self._int()):
            self._text()
            self._skip(8)
        for _ in range(self._int()):
            self._text()
