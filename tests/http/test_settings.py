"""The settings: each name, each refusal, where values come from, and that secrets stay secret."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyclient import settings
from pyclient.errors import ConfigError
from pyclient.settings_table import TABLE, Setting, Settings

DEFAULTS = {
    "FAST_PRIORITY_HIGH_PRIO_PATHS": "unlisted",
    "FAST_PRIORITY_PASS_THROUGH": ("health",),
    "FAST_PRIORITY_NORMALIZE_PATHS": True,
    "FAST_PRIORITY_POLL_INTERVAL": 1.0,
    "FAST_PRIORITY_TTL": 300.0,
    "FAST_PRIORITY_REDIS_HOST": "localhost",
    "FAST_PRIORITY_REDIS_PORT": 6379,
    "FAST_PRIORITY_DOC_PATH": "/gateway_docs",
    "FAST_PRIORITY_REDOC_PATH": "/gateway_redoc",
    "FAST_PRIORITY_HEALTH_PATH": "/gateway_health",
    "FAST_PRIORITY_HOST": "0.0.0.0",
    "FAST_PRIORITY_PORT": 8000,
    "PEAK_PREFIX": "peak",
    "PEAK_QUEUE": "default",
    "PEAK_MODE": "worker",
    "PEAK_LEASE": 15.0,
    "PEAK_UPSTREAM_TIMEOUT": 60.0,
    "PEAK_CONNECT_TIMEOUT": 2.0,
    "PEAK_DRAIN_TIMEOUT": 25.0,
    "PEAK_MAX_QUEUE": 10_000,
    "PEAK_MAX_BODY": 10 * 1024 * 1024,
    "PEAK_WORKER_CONCURRENCY": 1,
}
UNSET = (
    "FAST_PRIORITY_TARGET_BASE_URL",
    "FAST_PRIORITY_REDIS_USER",
    "FAST_PRIORITY_REDIS_PASSWORD",
    "FAST_PRIORITY_WORKERS",
    "PEAK_REDIS_URL",
    "PEAK_CONCURRENCY",
    "PEAK_LEVEL_STEP",
)


def load(tmp_path: Path, **environ: str) -> Settings:
    return settings.load(environ, tmp_path)


def by_name(loaded: Settings, name: str) -> object:
    (setting,) = [row for row in TABLE if row.name == name]
    return getattr(loaded, setting.attribute)


def test_without_any_variable_the_defaults_are_those_of_the_two_old_systems(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert {name: by_name(loaded, name) for name in DEFAULTS} == DEFAULTS
    assert [by_name(loaded, name) for name in UNSET] == [None] * len(UNSET)
    assert loaded.prio_paths == loaded.prio_base_paths == ()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("FAST_PRIORITY_NORMALIZE_PATHS", "0", False),
        ("FAST_PRIORITY_NORMALIZE_PATHS", "false", False),
        ("FAST_PRIORITY_NORMALIZE_PATHS", "False", False),
        ("FAST_PRIORITY_NORMALIZE_PATHS", "", False),
        ("FAST_PRIORITY_NORMALIZE_PATHS", "1", True),
        ("FAST_PRIORITY_PRIO_PATHS", " a, /b ,,c/", ("a", "/b", "c/")),
        ("FAST_PRIORITY_PASS_THROUGH", "", ()),
        ("FAST_PRIORITY_WORKERS", "3", 3),
        ("FAST_PRIORITY_WORKERS", "", None),
        ("FAST_PRIORITY_WORKER", "2", 2),
        ("FAST_PRIORITY_TTL", "2.5", 2.5),
        ("FAST_PRIORITY_TTL", "5m", 300.0),
        ("PEAK_LEASE", "500ms", 0.5),
        ("PEAK_MAX_BODY", "32MiB", 32 * 1024 * 1024),
        ("PEAK_MAX_BODY", "1kB", 1000),
        ("PEAK_MAX_BODY", "512", 512),
        ("PEAK_LEVEL_STEP", "strict", None),
        ("PEAK_LEVEL_STEP", "30", 30.0),
        ("PEAK_LEVEL_STEP", "500ms", 0.5),
    ],
)
def test_a_value_is_read_as_its_kind(tmp_path: Path, name: str, text: str, value: object) -> None:
    loaded = load(tmp_path, **{name: text})
    row = next(row for row in TABLE if name in (row.name, *row.aliases))
    assert getattr(loaded, row.attribute) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FAST_PRIORITY_WORKERS", "0"),
        ("FAST_PRIORITY_WORKERS", "abc"),
        ("FAST_PRIORITY_WORKERS", "-1"),
        ("FAST_PRIORITY_WORKERS", "1.5"),
        ("FAST_PRIORITY_WORKERS", "1_0"),
        ("FAST_PRIORITY_WORKERS", "٣"),
        ("FAST_PRIORITY_HIGH_PRIO_PATHS", "bogus"),
        ("FAST_PRIORITY_NORMALIZE_PATHS", "maybe"),
        ("FAST_PRIORITY_TTL", "nan"),
        ("FAST_PRIORITY_TTL", "inf"),
        ("FAST_PRIORITY_TTL", "0"),
        ("FAST_PRIORITY_TTL", "1e3"),
        ("FAST_PRIORITY_TTL", "9" * 400),
        ("FAST_PRIORITY_PORT", "65536"),
        ("FAST_PRIORITY_DOC_PATH", "docs"),
        ("FAST_PRIORITY_DOC_PATH", "/a?b"),
        ("FAST_PRIORITY_TARGET_BASE_URL", "localhost:8000"),
        ("FAST_PRIORITY_TARGET_BASE_URL", "ftp://host"),
        ("FAST_PRIORITY_TARGET_BASE_URL", "http://"),
        ("FAST_PRIORITY_TARGET_BASE_URL", "http://user:pw@host"),
        ("FAST_PRIORITY_TARGET_BASE_URL", "http://host/?q"),
        ("FAST_PRIORITY_TARGET_BASE_URL", "http://host:99999"),
        ("FAST_PRIORITY_TARGET_BASE_URL", "http://ho st"),
        ("PEAK_MAX_BODY", "10 parsecs"),
        ("PEAK_MAX_BODY", "-5"),
        ("PEAK_MAX_BODY", "9" * 16),
        ("PEAK_MODE", "Worker"),
        ("PEAK_QUEUE", "a{b}"),
        ("PEAK_PREFIX", "a:b"),
        ("PEAK_LEASE", "0.01"),
        ("PEAK_REDIS_URL", "localhost"),
        ("PEAK_TRUSTED_PROXIES", "10.0.0.0/99"),
        ("PEAK_CONCURRENCY", "0"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(
    tmp_path: Path, name: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **{name: text})
    message = str(caught.value)
    assert message.startswith(f"{name}: expected ")
    assert ", got " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("FAST_PRIORITY_PRIO_PATH", "FAST_PRIORITY_PRIO_PATHS"),
        ("FAST_PRIORITY_REDIS_URL", "PEAK_REDIS_URL"),
        ("PEAK_MAX_BODDY", "PEAK_MAX_BODY"),
        ("PEAK_TTL", "FAST_PRIORITY_TTL"),
        ("PEAK_QWERTZUIOP", "config docs"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_suggestion(
    tmp_path: Path, name: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=f"Unknown setting {name}.*{hint}"):
        load(tmp_path, **{name: "1"})


def test_names_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\nPEAKS=2\n")
    assert load(tmp_path, PATH="/bin", REDIS_URL="x").origins == {}


def test_a_file_in_the_working_directory_counts_and_a_real_variable_beats_it(
    tmp_path: Path,
) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\n"
        "FAST_PRIORITY_TTL=7\n"
        "export PEAK_QUEUE = orders # and why\n"
        "PEAK_PREFIX='quoted'   # too\n"
        'FAST_PRIORITY_REDIS_PASSWORD="a#b\\"c"\n'
        "FAST_PRIORITY_WORKER=4\n"
        "not a line\n"
    )
    loaded = load(tmp_path, FAST_PRIORITY_TTL="9", FAST_PRIORITY_WORKERS="2")
    assert (loaded.ttl, loaded.queue, loaded.prefix) == (9.0, "orders", "quoted")
    assert loaded.redis_password == 'a#b"c'
    assert loaded.workers == 2
    assert loaded.origins["FAST_PRIORITY_TTL"] == "environment"
    assert loaded.origins["PEAK_QUEUE"].endswith(".env:3")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("FAST_PRIORITY_TTLL=1", r"Unknown setting FAST_PRIORITY_TTLL in .*\.env:1"),
        ("PEAK_QUEUE='open", r"\.env:1: expected a closing quote"),
        ("PEAK_LEASE=x", "PEAK_LEASE: expected seconds"),
    ],
)
def test_a_wrong_line_of_the_file_is_an_error_too(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / ".env").write_text(line + "\n")
    with pytest.raises(ConfigError, match=message):
        load(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path)


def test_both_spellings_of_the_worker_count_must_agree(tmp_path: Path) -> None:
    assert load(tmp_path, FAST_PRIORITY_WORKER="2", FAST_PRIORITY_WORKERS="2").workers == 2
    with pytest.raises(ConfigError, match="set twice"):
        load(tmp_path, FAST_PRIORITY_WORKER="1", FAST_PRIORITY_WORKERS="2")


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    loaded = load(tmp_path, FAST_PRIORITY_REDIS_PASSWORD_FILE=str(tmp_path / "secret"))
    assert loaded.redis_password == "hunter2"
    with pytest.raises(ConfigError, match=r"REDIS_PASSWORD_FILE: .*No such file"):
        load(tmp_path, FAST_PRIORITY_REDIS_PASSWORD_FILE=str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="set twice"):
        load(
            tmp_path,
            FAST_PRIORITY_REDIS_PASSWORD_FILE=str(tmp_path / "secret"),
            FAST_PRIORITY_REDIS_PASSWORD="other",
        )
    with pytest.raises(ConfigError, match="Unknown setting PEAK_QUEUE_FILE"):
        load(tmp_path, PEAK_QUEUE_FILE="x")


def test_the_address_of_redis_is_built_from_four_names_or_is_the_url(tmp_path: Path) -> None:
    assert settings.redis_address(load(tmp_path)) == "redis://localhost:6379"
    four = load(
        tmp_path,
        FAST_PRIORITY_REDIS_HOST="::1",
        FAST_PRIORITY_REDIS_PORT="7000",
        FAST_PRIORITY_REDIS_USER="me@home",
        FAST_PRIORITY_REDIS_PASSWORD="p:/ä",
    )
    assert settings.redis_address(four) == "redis://me%40home:p%3A%2F%C3%A4@[::1]:7000"
    both = load(tmp_path, FAST_PRIORITY_REDIS_HOST="a", PEAK_REDIS_URL="redis://b:1")
    assert settings.redis_address(both) == "redis://b:1"
    assert both.notes == ("PEAK_REDIS_URL is used; FAST_PRIORITY_REDIS_HOST ignored",)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:CANARY@host:6379/0",
        "redis://:CANARY@host",
        "redis://user:a@CANARY@host",
        "unix://:CANARY@/tmp/sock",
        "redis+sentinel://h1,h2/service?password=CANARY&sentinel_password=CANARY",
        "redis://host/0?db=1&Password=CANARY",
    ],
)
def test_no_secret_of_an_address_survives_redaction(tmp_path: Path, url: str) -> None:
    assert "CANARY" not in settings.redact(url)
    assert settings.redact("redis://host:6379/0?db=1") == "redis://host:6379/0?db=1"
    loaded = load(tmp_path, PEAK_REDIS_URL=url, FAST_PRIORITY_REDIS_PASSWORD="CANARY")
    everything = repr(loaded) + repr([(text, origin) for _, text, origin in settings.shown(loaded)])
    assert "CANARY" not in everything


def test_a_wrong_secret_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, PEAK_REDIS_URL="CANARY")
    assert "CANARY" not in str(caught.value)


def test_the_docs_name_every_setting_with_its_default() -> None:
    page = settings.render_docs()
    for row in TABLE:
        assert page.count(f"| `{row.name}`") == 1
    assert "`FAST_PRIORITY_WORKERS`, `FAST_PRIORITY_WORKER`" in page
    assert all(len(line.split(" | ")) == 4 for line in page.splitlines() if line.startswith("| `"))


def test_every_field_but_origins_and_notes_is_a_setting_and_none_can_be_changed() -> None:
    assert {item.name for item in fields(Settings)} - {row.attribute for row in TABLE} == {
        "origins",
        "notes",
    }
    with pytest.raises(FrozenInstanceError):
        Settings().ttl = 1.0  # type: ignore[misc]


@given(row=st.sampled_from(TABLE), text=st.text(max_size=30))
def test_any_text_is_either_read_or_refused_with_one_line(row: Setting, text: str) -> None:
    message = ""
    try:
        settings.load({row.name: text}, Path("/nonexistent"))
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message


def test_the_page_in_the_docs_is_the_one_that_the_table_makes() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings.render_docs()
