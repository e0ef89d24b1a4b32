"""Mutants of pyclient: numbers, answers, inboxes, leases, limits, bodies."""

from __future__ import annotations

from .mutant import Mutant

CALLS = (
    Mutant(
        "the number is not raised after an unknown call",
        "pyclient/numbered.py",
        "                    if loop.time() >= give_up and tries > 1:\n",
        "                    if loop.time() >= give_up and tries > 1:\n"
        "                        self._number -= 1\n",
        "the next call gets the reply of the one that was given up",
        "tests/pyclient/test_numbered.py::test_after_a_call_that_was_given_up_the_number_rises",
    ),
    Mutant(
        "sent again under another number",
        "pyclient/numbered.py",
        "return await send(number)",
        "return await send(number + tries - 1)",
        "a call whose reply was lost is done twice",
        "tests/pyclient/test_numbered.py::test_an_unknown_call_is_sent_again_under_the_same_number",
        first=True,
    ),
    Mutant(
        "a lost reply is an error at once",
        "pyclient/numbered.py",
        "if not unknown:",
        "if unknown or not unknown:",
        "whoever submitted does not know what became of it",
        "tests/pyclient/test_numbered.py::test_an_unknown_call_is_sent_again_under_the_same_number",
    ),
    Mutant(
        "calls of one caller side by side",
        "pyclient/numbered.py",
        "        async with self._busy:\n",
        "        if True:\n",
        "one of two numbered calls is answered OLD",
        "tests/pyclient/test_numbered.py::test_concurrent_calls_go_one_after_the_other",
    ),
    Mutant(
        "a script is sent again where its link broke",
        "pyclient/connection.py",
        "                reply = await link.ask(command, deadline)\n",
        "                try:\n"
        "                    reply = await link.ask(command, deadline)\n"
        "                except Unavailable:\n"
        "                    link = await self._link(key, role, deadline)\n"
        "                    reply = await link.ask(command, deadline)\n",
        "what may have run runs twice, behind the back of the numbers",
        "tests/pyclient/test_connection_faults.py::test_a_reply_that_never_comes",
    ),
    Mutant(
        "a forgotten script stays forgotten",
        "pyclient/connection.py",
        'if code == "NOSCRIPT" and script is not None:',
        'if code == "NOSCRIPT" and script is None:',
        "after SCRIPT FLUSH nothing works",
        "tests/pyclient/test_connection.py::test_a_script_is_loaded_once_for_all_callers_that_miss_it",
    ),
)

ANSWERS = (
    Mutant(
        "who waits is registered after the task is admitted",
        "pyclient/line.py",
        "        self.inbox.add(entry)\n        self._admits.append(entry)",
        "        self.loop.call_later(0.5, self.inbox.add, entry)\n"
        "        self._admits.append(entry)",
        "an answer that is quick meets nobody",
        "tests/pyclient/test_line.py::test_one_task_that_the_script_refuses_does_not_hurt_the_others",
    ),
    Mutant(
        "any answer will do",
        "pyclient/inbox.py",
        "self._waiters.pop(task_id, None)",
        "self._waiters.pop(next(iter(self._waiters), task_id), None)",
        "one caller gets the answer of another",
        "tests/pyclient/test_inbox.py::test_after_an_error_of_the_reader_all_is_asked_for_again",
        first=True,
    ),
    Mutant(
        "who should be known is asked after the fetch",
        "pyclient/inbox.py",
        "                    if expected:\n",
        "                    if waiter.expected:\n",
        "a task admitted meanwhile counts as lost",
        "tests/pyclient/test_inbox.py::test_a_task_acknowledged_while_fetch_travels_is_not_lost",
    ),
    Mutant(
        "the inbox is not read to its end before a task counts as lost",
        "pyclient/inbox.py",
        "        while await self._next(reader, key, 0):\n            pass\n",
        "",
        "an answer that lies there is thrown away, its caller hears StateLost",
        "tests/pyclient/test_inbox.py::test_what_is_in_the_inbox_counts_before_what_redis_does_not_know",
    ),
    Mutant(
        "no resync after a cut",
        "pyclient/inbox.py",
        "                failing = self._stale = True\n",
        "                failing = True\n",
        "what was missed while the link was down is never heard",
        "tests/pyclient/test_inbox.py::test_after_an_error_of_the_reader_all_is_asked_for_again",
    ),
    Mutant(
        "who waits in a lull does not look after its inbox",
        "pyclient/inbox.py",
        "        if self._waiters:\n            await self.attach()\n",
        "",
        "after FLUSHALL nobody is told for seconds",
        "tests/pyclient/test_queue_faults.py::test_lost_state_is_loud_within_two_seconds",
    ),
    Mutant(
        "the inbox is refreshed too seldom",
        "pyclient/engine.py",
        "return min(reply.lease_ms / 3000, _REFRESH_S)",
        "return min(reply.lease_ms / 100, 60 * _REFRESH_S)",
        "whoever waits counts as gone, and is taken out of the line",
        "tests/property/test_actors.py::test_where_nothing_goes_wrong_nothing_is_noticed",
    ),
    Mutant(
        "a lost large answer is no answer",
        "pyclient/outcome.py",
        "        if data is None:\n            raise StateLost",
        "        if data is None:\n            data = b''\n        if data is None:\n"
        "            raise StateLost",
        "garbage instead of an error",
        "tests/pyclient/test_outcome.py::test_large_bodies_are_stored_read_and_removed",
    ),
)

LIVES = (
    Mutant(
        "leases are renewed too seldom",
        "pyclient/slot.py",
        "return min(self._line.inbox.lease_ms / 3000, _RENEW_S)",
        "return self._line.inbox.lease_ms / 100",
        "a slot is given to another while it is held",
        "tests/pyclient/test_slot_lease.py::test_a_blocked_event_loop_keeps_slots_and_inbox",
    ),
    Mutant(
        "a lost lease stops nobody",
        "pyclient/slot.py",
        "            lease.lose()\n\n\nclass Slot:",
        "            lease.lost = True\n\n\nclass Slot:",
        "two hold one slot",
        "tests/pyclient/test_slot_lease.py::test_a_lost_lease_cancels_the_block_and_is_told",
    ),
    Mutant(
        "an old grant is used as it is",
        "pyclient/slot.py",
        "        if (now - since) * 1000 <= self._line.inbox.lease_ms / 3:\n",
        "        if (now - since) * 1000 <= self._line.inbox.lease_ms * 3000:\n",
        "a turn begins after its lease has ended",
        "tests/pyclient/test_slot.py::test_a_grant_that_may_be_old_is_renewed_first_and_not_used_if_it_ended",
    ),
    Mutant(
        "who gives up stays in the line",
        "pyclient/line.py",
        "elif entry.state != SENDING and entry.lone and not self._closed:",
        "elif entry.state == NEW:",
        "work is done for nobody",
        "tests/pyclient/test_line_leave.py::test_forgotten_after_it_was_sent_a_task_is_cancelled_and_its_answer_dropped",
    ),
    Mutant(
        "who gives up while it is sent stays in the line",
        "pyclient/line.py",
        "            if entry.reason:\n                self.forget(entry, entry.reason)\n",
        "",
        "work is done for nobody",
        "tests/pyclient/test_line_leave.py::test_forgotten_while_it_is_sent_a_task_is_cancelled_when_it_is_known",
    ),
    Mutant(
        "a cancel whose reply was lost is no reason to look",
        "pyclient/cancels.py",
        "                if error.unknown:\n                    self._inbox.lost()\n",
        "",
        "whoever was cancelled waits until his time is over",
        "tests/pyclient/test_line_leave.py::test_a_cancel_whose_reply_was_lost_is_sent_again_and_the_inbox_asked",
    ),
    Mutant(
        "a sweep that met its bound is not repeated",
        "pyclient/sweeper.py",
        "            while more:\n                next_ms, more = await self._sweep()\n",
        "            next_ms, more = await self._sweep()\n",
        "after an outage the line moves 64 tasks a second",
        "tests/pyclient/test_sweeper.py::test_more_is_swept_at_once",
    ),
)

VALUES = (
    Mutant(
        "a refund may fill a bucket above its burst",
        "pyclient/limiter.py",
        "level = min(self._burst, max(level - cost, 0.0))",
        "level = max(level - cost, 0.0)",
        "who gives back may then take more than the burst",
        "tests/pyclient/test_limiter.py::test_a_local_bucket_fills_with_time",
    ),
    Mutant(
        "a payload may claim what it likes",
        "pyclient/codec.py",
        "if len(data) > _SMALL and sum",
        "if len(data) < 0 and sum",
        "21 KB make 67 MB",
        "tests/pyclient/test_codec.py::test_headers_that_claim_more_than_there_is_cost_nothing",
        first=True,
    ),
    Mutant(
        "a payload may be of any size",
        "pyclient/outcome.py",
        "        if len(body) > self._max:\n",
        "        if len(body) > self._max * 1000:\n",
        "one task fills Redis",
        "tests/pyclient/test_outcome.py::test_large_bodies_are_stored_read_and_removed",
    ),
    Mutant(
        "an unknown setting is let pass",
        "pyclient/settings.py",
        "    return name.startswith(PREFIXES)\n",
        "    return name in _BY_NAME or name in _FILE_NAMES\n",
        "a misspelt limit limits nothing, and nobody is told",
        "tests/http/test_settings.py::test_an_unknown_name_is_an_error_with_a_suggestion",
    ),
    Mutant(
        "a place is not given back",
        "pyclient/compat/fastapi_queue/manager.py",
        "            await self._gateway.leave(places)\n",
        "            pass\n",
        "the route fills up and stays full",
        "tests/compat/test_capacity.py::test_several_calls_in_one_with_use_one_place",
    ),
)

CLIENT = (*CALLS, *ANSWERS, *LIVES, *VALUES)
