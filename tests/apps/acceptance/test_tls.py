"""A target that speaks TLS: in both modes, with a CA of one's own, and with wrong certificates."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import Server

from .rawclient import chunked
from .rawtarget import RawTarget, raw_target
from .rig import Site, site
from .test_messages import noise

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")


@dataclass(frozen=True)
class Certificates:
    """A CA and a target's certificate by it, for 127.0.0.1 or for a name that it has not."""

    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    def context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context


def _openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    _openssl(folder, f"req -x509 {key} -days 2 -subj /CN=own-ca -keyout ca.key -out ca.pem")
    for name, san in (("right", "IP:127.0.0.1"), ("other", "DNS:other.example")):
        _openssl(folder, f"req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr")
        (folder / f"{name}.ext").write_text(f"subjectAltName={san}\n")
        _openssl(
            folder,
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            f"-extfile {name}.ext -out {name}.pem",
        )
    return Certificates(folder)


@pytest.fixture(scope="module")
def target(certificates: Certificates) -> Iterator[RawTarget]:
    with raw_target(certificates.context("right")) as made:
        yield made


def _at(here: Site, target: RawTarget) -> None:
    """Have the site's processes call this target."""
    here.target = target
    here.settings["FAST_PRIORITY_TARGET_BASE_URL"] = target.url
    target.seen.clear()


@pytest.mark.parametrize("mode", ["worker", "hold"])
def test_a_target_behind_tls_is_called_as_any_other(
    redis: Server, certificates: Certificates, target: RawTarget, mode: str
) -> None:
    with site(redis, PEAK_MODE=mode, PEAK_TARGET_CA=certificates.ca) as here:
        _at(here, target)
        here.gateway()
        if mode == "worker":
            here.worker()
        target.seen.clear()
        before = target.connections
        body = noise(300_000)
        assert here.ask(b"POST", b"/up%2F?x", body=body).status == 200
        assert here.ask(b"GET", b"/health").status == 200
        assert here.ask(b"GET", b"/docs").status == 200
        lines = (b"Transfer-Encoding: chunked",)
        with_parts = here.ask(b"PUT", b"/parts", *lines, b"\r\n" + chunked(b"a", b"bc")[:-2])
        assert with_parts.status == 200
        assert target.at(b"/up%2F")[0].values(b"host") == [target.url.split("/")[2].encode()]
        digests = [hashlib.sha256(one.body).digest() for one in target.at(b"/up%2F")]
        assert digests == [hashlib.sha256(body).digest()]
        assert target.one(b"/parts").body == b"abc"
        page = here.gauge()
        assert page["target_reachable"] is True
        assert target.connections - before <= 3, "connections are kept"


@pytest.mark.parametrize("mode", ["worker", "hold"])
@pytest.mark.parametrize(
    ("certificate", "own_ca", "why"),
    [
        ("right", False, "unable to get local issuer certificate"),
        ("other", True, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
    ids=["not vouched for", "of another"],
)
def test_a_certificate_that_is_not_the_targets_is_a_502_and_a_clear_line(
    redis: Server,
    certificates: Certificates,
    mode: str,
    certificate: str,
    own_ca: bool,  # noqa: FBT001
    why: str,
) -> None:
    ca = {"PEAK_TARGET_CA": certificates.ca} if own_ca else {}
    with (
        raw_target(certificates.context(certificate)) as wrong,
        site(redis, PEAK_MODE=mode, **ca) as here,
    ):
        _at(here, wrong)
        gateway = here.gateway()
        processes = [gateway]
        if mode == "worker":
            processes.append(here.worker(wait=False))  # type: ignore[arg-type]
        got = here.ask(b"POST", b"/secret", b"Cookie: a", body=b"x")
        assert (got.status, got.problem["code"]) == (502, "upstream-connect")
        assert wrong.seen == [], "nothing was sent"
        assert here.gauge()["target_reachable"] is False
        for process in processes:
            assert f"its certificate is refused: {why}" in process.said(), process.said()


def test_plain_http_at_a_tls_port_and_the_reverse_are_502(
    redis: Server, certificates: Certificates, target: RawTarget
) -> None:
    with site(redis, PEAK_MODE="hold", PEAK_TARGET_CA=certificates.ca) as here:
        plain = here.target
        here.gateway()
        here.settings["FAST_PRIORITY_TARGET_BASE_URL"] = plain.url.replace("http:", "https:")
        confused = here.gateway(ready=False)
        got = confused.ask(b"GET", b"/x")
        assert (got.status, got.problem["code"]) == (502, "upstream-connect")
        here.settings["FAST_PRIORITY_TARGET_BASE_URL"] = target.url.replace("https:", "http:")
        assert here.gateway(ready=False).ask(b"GET", b"/x").status == 502
        plain.errors.clear()  # it could make nothing of a ClientHello


@pytest.mark.parametrize("module", ["gateway_app", "worker_app"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_that_can_not_be_used_is_said_in_one_line(
    redis: Server, tmp_path: Path, module: str, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with site(redis, PEAK_TARGET_CA=str(path)) as here:
        process = here.start(module)
        assert process.wait() == 1
        (line,) = process.said().splitlines()
        assert "PEAK_TARGET_CA: expected the path of a PEM file of certificates" in line
