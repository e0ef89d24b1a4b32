"""What clients of a queue do: one method a call, each filling in names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worker_app.standing import given_of

from .driver import Arg, Driver
from .order import grants_of, tasks_of
from .snapshot import text

Lease = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Kind:
    """A profile of `admit`."""

    level: int = 3
    route: str = "r0"
    tenant: str = ""
    wait_ms: int = 60_000
    run_ms: int = 60_000
    due_ms: int = 0
    attempts: int = 2
    keep_s: int = 0
    options: str = ""

    def args(self) -> list[Arg]:
        """As nine arguments."""
        return [
            self.level,
            self.route,
            self.tenant,
            self.wait_ms,
            self.run_ms,
            self.due_ms,
            self.attempts,
            self.keep_s,
            self.options,
        ]


class Clients(Driver):
    """A driver with the calls of owners and workers."""

    mode = "pull"

    def start(self, mode: str, **settings: Arg) -> None:
        """Configure the queue and give the owners their inboxes."""
        self.mode = mode
        self.made = 0
        self.issued: list[tuple[str, str, int]] = []
        self.sent: list[tuple[str, list[Arg]]] = []
        self.configure(mode=mode, **settings)

    def configure(self, **settings: Arg) -> Any:
        """Settings; `concurrency__r1` is `concurrency r1`."""
        pairs = [(name.replace("__", " "), value) for name, value in settings.items()]
        return self.call("configure", *(part for pair in pairs for part in pair))

    def new_id(self) -> str:
        """A fresh id of 22 characters."""
        self.made += 1
        return f"t{self.made:021d}"

    def numbered(self, verb: str, caller: str, *args: Arg) -> Any:
        """As the driver's, and remembered, so that a late copy can be sent."""
        reply = super().numbered(verb, caller, *args)
        self.sent.append((verb, [caller, self.numbers[caller], *args]))
        return reply

    def admit(
        self,
        owner: str,
        kinds: list[Kind],
        *,
        ids: list[str] | None = None,
        buckets: list[tuple[str, int, int, int]] | None = None,
        trim: str = "0",
    ) -> list[str]:
        """Admit one task of each kind; the words."""
        ids = ids or [self.new_id() for _ in kinds]
        profiles = list(dict.fromkeys(kinds))
        args: list[Arg] = [self.mode, trim, len(buckets or [])]
        for bucket in buckets or []:
            args += bucket
        args.append(len(profiles))
        for profile in profiles:
            args += profile.args()
        for kind, name in zip(kinds, ids, strict=True):
            args += [profiles.index(kind) + 1, name, f"body of {int(name[1:])}\r\n\0"]
        reply = self.numbered("admit", owner, *args)
        self.note_grants(reply[4], owner)
        return [text(word) for word in reply[3]]

    def attach(self, caller: str, *ids: str) -> Any:
        """Make or refresh the caller's inbox."""
        return self.call("attach", caller, *ids)

    def ensure_inbox(self, owner: str) -> None:
        """The owner lives."""
        if not self.model.heard(owner):
            self.attach(owner)

    def lose_owner(self, owner: str, how: str) -> None:
        """It is `gone` with its inbox, or `silent` for a lease: its inbox is still there."""
        (self.delete_inbox if how == "gone" else self.leave_inbox)(owner)

    def script_flush(self) -> None:
        """The server forgets all scripts."""
        self.client.script_flush()
        self.log.append("SCRIPT FLUSH")
        self.seen["script flush"] += 1

    def clock_back(self, owner: str, ms: int) -> None:
        """The server's clock steps back; life goes on with what comes next."""
        self.tick(-ms)
        self.seen["clock set back"] += 1
        self.sweep()
        self.ensure_inbox(owner)

    def copied(self, how: int) -> None:
        """A copy of the last call arrives, or of one a few calls earlier."""
        if how and self.sent:
            self.again(max(0, len(self.sent) - how))

    def note_grants(self, listed: list[Any], caller: str) -> None:
        """Remember grants of a reply."""
        self.issued += [(caller, name, fence) for name, fence, _ in grants_of(listed)]

    def note_given(self, caller: str, message: bytes) -> None:
        """As the driver's; such leases are like others."""
        super().note_given(caller, message)
        self.issued += [(caller, task.id, task.fence) for task in given_of(message)]

    def claim(self, worker: str, limit: int, top: int | str = 9) -> list[Lease]:
        """Claim, and again at once while the reply says `more`; a `+` behind `top` lets it
        stand."""
        found: list[Lease] = []
        for _ in range(8):
            reply = self.numbered("claim", worker, limit - len(found), top)
            found += [(row[0], row[1]) for row in tasks_of(reply[3])]
            if not int(reply[2]) or len(found) == limit:
                break
        self.issued += [(worker, name, fence) for name, fence in found]
        return found

    def publish(
        self,
        caller: str,
        leases: list[Lease],
        *,
        word: str = "done",
        limit: int = 0,
        top: int | str = 9,
    ) -> list[str]:
        """Publish one outcome a lease; the words."""
        rows: list[Arg] = []
        for name, fence in leases:
            rows += [name, fence, word, f"answer {fence}\n"]
        limit = 0 if self.mode == "hold" else limit
        reply = self.numbered("publish", caller, limit, top, *rows)
        if self.mode == "hold":
            self.note_grants(reply[4], caller)
        else:
            self.issued += [(caller, row[0], row[1]) for row in tasks_of(reply[4])]
        return [text(word) for word in reply[3]]

    def retry(
        self, worker: str, leases: list[Lease], *, delay_ms: int = 0, counted: int = 1
    ) -> list[str]:
        """Hand leases back; the words."""
        rows: list[Arg] = []
        for name, fence in leases:
            rows += [name, fence, delay_ms, counted, "not now"]
        return [text(word) for word in self.numbered("retry", worker, *rows)[3]]

    def cancel(self, caller: str, ids: list[str], reason: str = "cancelled") -> list[str]:
        """Cancel; the words."""
        reply = self.numbered("cancel", caller, reason, *ids)
        self.note_grants(reply[4], caller)
        return [text(word) for word in reply[3]]

    def renew(self, caller: str, leases: list[Lease]) -> list[str]:
        """Renew; the words."""
        flat = [part for lease in leases for part in lease]
        return [text(word) for word in self.call("renew", caller, *flat)[2]]

    def sweep(self) -> int:
        """Sweep, again while it says `more`; ms to the next."""
        for _ in range(16):
            reply = self.call("sweep")
            if not int(reply[2]):
                break
        return int(reply[1])

    def place(self, caller: str, action: str, name: str, route: str, level: int = 3) -> str:
        """Take or leave a place; the word."""
        reply = self.numbered("place", caller, self.mode, action, name, route, level)
        return text(reply[2])

    def again(self, at: int) -> None:
        """A copy of an earlier numbered call arrives."""
        verb, args = self.sent[at % len(self.sent)]
        self.call(verb, *args)

    def leases_of(self, caller: str) -> list[Lease]:
        """What the caller really holds now, as the model knows it."""
        return [(t.id, t.fence) for t in self.model.in_state("running") if t.worker == caller]

    def holders(self) -> dict[str, list[Lease]]:
        """All leases by who holds them."""
        found: dict[str, list[Lease]] = {}
        for task in self.model.in_state("running"):
            found.setdefault(task.worker, []).append((task.id, task.fence))
        return found
