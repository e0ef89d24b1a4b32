"""Certificates made for a test, by openssl: a CA, what it signed, and what is wrong in one way."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


class Certificates:
    """Files `NAME.crt` and `NAME.key` in a folder."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl to make certificates")
        self.folder = folder
        self.authority("ca")

    def authority(self, name: str) -> None:
        """A CA of its own."""
        self._openssl(
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
            f" -keyout {name}.key -out {name}.crt"
        )

    def signed(self, name: str, *, by: str = "ca", host: str = "", days: int = 2) -> None:
        """A certificate for a host, or a client's; with `days` < 0 it has expired."""
        self._openssl(
            f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}"
            f" -keyout {name}.key -out {name}.csr"
        )
        extra = ""
        if host:
            (self.folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
            extra = f" -extfile {name}.ext"
        self._openssl(
            f"x509 -req -in {name}.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial"
            f" -days {days} -out {name}.crt{extra}"
        )

    def path(self, file: str) -> str:
        """Of one of the files."""
        return str(self.folder / file)

    def _openssl(self, words: str) -> None:
        done = subprocess.run(
            ["openssl", *words.split()], cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
