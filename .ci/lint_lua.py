"""luacheck on what Redis gets: the bundles, where includes and command stand together.

A bundle holds whole includes, so what one command leaves unused is no finding; what every
bundle with that line warns about is one, and is printed with its place in lua/.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyclient.scripts import load_scripts

_ROW = re.compile(r"^(?P<file>.+\.lua):(?P<line>\d+):\d+: \((?P<code>\w+)\) (?P<text>.*)$")
_UNUSED = ("W211", "W212", "W213", "W221", "W231")


def main() -> int:
    """Print the findings; 1 if there are any."""
    scripts = load_scripts()
    with tempfile.TemporaryDirectory() as folder:
        for script in scripts.values():
            # The shebang is for Redis; a comment in its place keeps the line numbers.
            _, _, body = script.text.decode().partition("\n")
            Path(folder, f"{script.name}.lua").write_text(f"--\n{body}", encoding="utf-8")
        call = ["luacheck", "--config", ".luacheckrc", "--no-cache", "--codes"]
        call += ["--formatter", "plain", folder]
        said = subprocess.run(call, capture_output=True, text=True, check=False)
    if said.returncode > 2 or said.stderr:
        print(said.stdout, said.stderr, sep="\n")
        return 1
    warned: Counter[tuple[tuple[str, int], str, str]] = Counter()
    for row in said.stdout.splitlines():
        match = _ROW.match(row)
        if match:
            place = scripts[Path(match["file"]).stem].locate(int(match["line"]))
            warned[place, match["code"], match["text"]] += 1
    holding = Counter(place for script in scripts.values() for place in set(script.source_map))
    found = [
        f"lua/{file}:{line}: ({code}) {text}"
        for ((file, line), code, text), times in sorted(warned.items())
        if code not in _UNUSED or times == holding[file, line]
    ]
    print(*found, f"luacheck: {len(found)} findings in {len(scripts)} bundles", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
