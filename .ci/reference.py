"""Writes docs/reference/python.md from the docstrings: `python .ci/reference.py`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PAGE = ROOT / "docs" / "reference" / "python.md"
HEAD = """# The Python side

Written by `python .ci/reference.py` from the docstrings; a test says when it is out of date.
Everything here is imported from the module that the heading names. Times are seconds, sizes bytes,
unless a name says otherwise.
"""
# What a program is given and does not make: the members that are for it.
GIVEN = {"Lease": (), "Ticket": ("id", "result", "position", "state", "cancel")}


def page() -> str:
    """The whole page."""
    import pyclient
    import pyclient.asgi
    import pyclient.fastapi
    import worker_app

    parts = [HEAD]
    shown: list[object] = []
    for module in (pyclient, worker_app, pyclient.asgi, pyclient.fastapi):
        parts.append(f"\n## {module.__name__}\n")
        for name in sorted(module.__all__, key=lambda one: (one[0].islower(), one)):
            value = getattr(module, name)
            if not any(value is one for one in shown):
                shown.append(value)
                parts += _entry(name, value)
    return "".join(parts)


def _entry(name: str, value: object) -> Iterator[str]:
    if inspect.isclass(value) and issubclass(value, Exception):
        base = value.__mro__[1].__name__
        yield f"\n### {name}({base})\n\n{_doc(value)}\n"
    elif inspect.isclass(value) and name in GIVEN:
        yield f"\n### {name}\n\n{_doc(value)}\n"
        for member, what in vars(value).items():
            if member in GIVEN[name]:
                yield from _member(member, what)
    elif inspect.isclass(value):
        yield f"\n### {name}{_signature(value)}\n\n{_doc(value)}\n"
        for member, what in vars(value).items():
            if not member.startswith("_"):
                yield from _member(member, what)
    elif inspect.isfunction(value):
        yield f"\n### {name}{_signature(value)}\n\n{_doc(value)}\n"


def _member(name: str, what: object) -> Iterator[str]:
    inner = what.__func__ if isinstance(what, classmethod | staticmethod) else what
    if isinstance(inner, property):
        yield f"\n* **`{name}`**: {_flat(inner)}\n"
    elif inspect.isfunction(inner) and inner.__doc__:
        awaited = "await " if inspect.iscoroutinefunction(inner) else ""
        yield f"\n* **`{awaited}{name}{_signature(inner)}`**  \n  {_flat(inner)}\n"


class _Words(str):
    """A text that shows itself without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _annotation(value: object) -> object:
    if value is inspect.Parameter.empty or value is inspect.Signature.empty:
        return value
    text = getattr(value, "__forward_arg__", value)
    return _Words(text if isinstance(text, str) else getattr(text, "__name__", text))


def _signature(value: object) -> str:
    found = inspect.signature(value)  # type: ignore[arg-type]
    kept = []
    for one in found.parameters.values():
        if one.name not in ("self", "cls"):
            default = _Words(one.default.__qualname__) if callable(one.default) else one.default
            if one.default is inspect.Parameter.empty:
                default = one.default
            kept.append(one.replace(annotation=_annotation(one.annotation), default=default))
    back = _annotation(found.return_annotation)
    text = str(found.replace(parameters=kept, return_annotation=back))
    return text.removesuffix(" -> None") if inspect.isclass(value) else text


def _doc(value: object) -> str:
    text = inspect.getdoc(value) or ""
    lines: list[str] = []
    code = False
    for line in text.splitlines():
        indented = line.startswith("    ")
        if indented and not code:
            lines.append("```python")
        if not indented and line and code:
            lines[-1:] = ["```", ""] if not lines[-1] else [lines[-1], "```"]
        code = indented or (code and not line)
        lines.append(line[4:] if indented else line)
    if code:
        lines.append("```")
    return "\n".join(lines)


def _flat(value: object) -> str:
    return " ".join((inspect.getdoc(value) or "").split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
