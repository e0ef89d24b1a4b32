"""Compares layouts of a waiting task in Redis: bytes per task, and µs to store and take 64.

    .venv/bin/python bench/layouts.py [--tasks 20000] [--json FILE]

Each layout is two small scripts (store 64, take 64) on the embedded Valkey and, where it is
installed, on redis-server. Its figures are quoted in docs/decisions/0001-key-layout.md.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pyclient.embedded import EmbeddedServer

BODY = b"x" * 203  # 200 bytes of payload, framed
BATCH = 64

PACKED = """
local tail = struct.pack('>I4I4I3Bc0Bc0Bc0',
  30000, 30000, 0, 8, 'subAAAAA', 12, 'route-name-1', 0, '')
local function header(tick) return struct.pack('>BBBBBI7', 1, 0, 3, 3, 0, tick) .. tail end
local function route(text)
  local a, b, c, d, e, tick, w, r, k, inbox, name = struct.unpack('>BBBBBI7I4I4I3Bc0Bc0', text)
  return name
end
"""
TEXT = """
local function header(tick)
  return '1|3|route-name-1||subAAAAA|' .. ('%.0f'):format(tick) .. '|30000|0|3|30000|0\\n'
end
local function route(text)
  local s, level, name = text:match('^(%d+)|(%d+)|([^|]*)|([^|]*)|([^|]*)|(%d+)|(%d+)|(%d+)|(%d+)')
  return name
end
"""
ONE_HASH = (
    """
local set, order = {}, {}
for i = 1, #ARGV, 2 do
  local tick = 59000000000000 + i + tonumber(KEYS[2])
  set[#set + 1] = ARGV[i]
  set[#set + 1] = header(tick) .. ARGV[i + 1]
  order[#order + 1] = tick
  order[#order + 1] = ARGV[i]
end
redis.call('HSET', KEYS[1] .. 'tasks', unpack(set))
redis.call('ZADD', KEYS[1] .. 'wait', unpack(order))
""",
    """
local ids = redis.call('ZRANGE', KEYS[1] .. 'wait', 0, 63)
local rows = redis.call('HMGET', KEYS[1] .. 'tasks', unpack(ids))
local out = {}
for i = 1, #rows do out[i] = route(rows[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[1] .. 'wait', 0, 63)
redis.call('HDEL', KEYS[1] .. 'tasks', unpack(ids))
return out
""",
)
HASH_EACH = (
    """
for i = 1, #ARGV, 2 do
  local tick = 59000000000000 + i + tonumber(KEYS[2])
  redis.call('HSET', KEYS[1] .. 't:' .. ARGV[i], 'level', 3, 'route', 'route-name-1',
    'inbox', 'subAAAAA',
    'tick', tick, 'wait_ms', 30000, 'run_ms', 30000, 'tries', 3)
  redis.call('SET', KEYS[1] .. 'b:' .. ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[1] .. 'wait', tick, ARGV[i])
  redis.call('ZADD', KEYS[1] .. 'deadlines', tick + 30000000, ARGV[i])
end
""",
    """
local ids = redis.call('ZRANGE', KEYS[1] .. 'wait', 0, 63)
local out = {}
for i = 1, #ids do
  out[i] = redis.call('HGET', KEYS[1] .. 't:' .. ids[i], 'route')
  redis.call('GET', KEYS[1] .. 'b:' .. ids[i])
  redis.call('DEL', KEYS[1] .. 't:' .. ids[i], KEYS[1] .. 'b:' .. ids[i])
end
redis.call('ZREM', KEYS[1] .. 'wait', unpack(ids))
redis.call('ZREM', KEYS[1] .. 'deadlines', unpack(ids))
return out
""",
)
LAYOUTS = {
    "one hash, packed header": tuple(PACKED + script for script in ONE_HASH),
    "one hash, text header": tuple(TEXT + script for script in ONE_HASH),
    "a hash and a string each": HASH_EACH,
}


def used(client: redis.Redis) -> int:
    """Memory without client buffers."""
    info: dict[str, Any] = client.info("memory")
    return int(info["used_memory"]) - int(info.get("mem_clients_normal", 0))


def script_us(client: redis.Redis, script: Any, *args: Any) -> float:
    """µs that Redis itself counts for one EVALSHA."""
    before = client.info("commandstats").get("cmdstat_evalsha", {}).get("usec", 0)
    client.evalsha(script, 2, "p:{q}:", *args)
    return float(client.info("commandstats")["cmdstat_evalsha"]["usec"] - before)


def measure(client: redis.Redis, layout: tuple[str, ...], tasks: int) -> dict[str, float]:
    """Bytes a task, and medians of µs a task to store and to take."""
    client.flushall()
    store, take = (client.script_load(text) for text in layout)
    base = used(client)
    stores = []
    for call in range(tasks // BATCH):
        pairs = [part for _ in range(BATCH) for part in (secrets.token_urlsafe(16), BODY)]
        stores.append(script_us(client, store, call * 1000, *pairs))
    time.sleep(0.2)
    size = (used(client) - base) / (tasks // BATCH * BATCH)
    takes = [script_us(client, take, 0) for _ in range(tasks // BATCH)]
    return {
        "bytes_per_task": round(size, 1),
        "store_us": round(sorted(stores)[len(stores) // 2] / BATCH, 2),
        "take_us": round(sorted(takes)[len(takes) // 2] / BATCH, 2),
    }


def main() -> None:
    """Measure all layouts on all servers, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    with EmbeddedServer.start() as server:
        client = redis.Redis.from_url(server.url)
        name = f"Valkey {client.info('server').get('valkey_version', '')}"
        results[name] = {k: measure(client, v, args.tasks) for k, v in LAYOUTS.items()}
        client.close()
    binary = shutil.which("redis-server")
    if binary:
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/s"
            command = [binary, "--port", "0", "--unixsocket", path, "--save", ""]
            process = subprocess.Popen([*command, "--dir", directory], stdout=subprocess.DEVNULL)
            try:
                while not Path(path).exists():
                    time.sleep(0.02)
                client = redis.Redis(unix_socket_path=path)
                name = f"Redis {client.info('server')['redis_version']}"
                results[name] = {k: measure(client, v, args.tasks) for k, v in LAYOUTS.items()}
                client.close()
            finally:
                process.terminate()
                process.wait()
    print("| server | layout | bytes a task | store µs | take µs |\n|---|---|---|---|---|")
    for server_name, layouts in results.items():
        for layout, row in layouts.items():
            cells = f"{row['bytes_per_task']} | {row['store_us']} | {row['take_us']}"
            print(f"| {server_name} | {layout} | {cells} |")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
