"""Mutants of the worker and of the gateway."""

from __future__ import annotations

from .mutant import Mutant

WORKER = (
    Mutant(
        "a worker that drains goes on claiming",
        "worker_app/loop.py",
        "limit = 0 if self.draining else min(",
        "limit = min(",
        "a stop takes as long as there is work",
        "tests/worker/test_drain.py::test_a_worker_that_drains_leases_nothing_more",
    ),
    Mutant(
        "what comes while a worker drains is forgotten",
        "worker_app/loop.py",
        '                self._desk.give_back(leased, 0, "its worker stops")\n',
        "                pass\n",
        "it comes back a lease later, one attempt poorer",
        "tests/worker/test_drain.py::test_what_a_claim_brings_after_the_stop_goes_back_at_once",
    ),
    Mutant(
        "leases are renewed too late",
        "worker_app/leases.py",
        "third = self.lease_s / 3 - self._look()",
        "third = self.lease_s * 3",
        "what takes longer than a lease runs twice",
        "tests/worker/test_leases.py::test_a_task_that_runs_for_many_leases_runs_once",
    ),
    Mutant(
        "a lost lease stops no handler",
        "worker_app/session.py",
        "        if held is not None:\n            log.info",
        '        if held is not None and word != "LOST":\n            log.info',
        "two handlers of one task side by side",
        "tests/worker/test_leases.py::test_a_lost_lease_stops_the_handler_at_once",
    ),
    Mutant(
        "a handler may run past the hard deadline",
        "worker_app/held.py",
        "since + min(route.timeout, hard - margin)",
        "since + route.timeout",
        "its answer comes when nobody takes it any more",
        "tests/worker/test_outcomes.py::test_the_time_of_the_submission_counts_where_it_is_shorter",
    ),
    Mutant(
        "what did not start counts as an attempt",
        "worker_app/desk.py",
        "counted=int(held.called))",
        "counted=1)",
        "a restart uses up the attempts of what never ran",
        "tests/worker/test_pool.py::test_what_waits_for_a_process_is_handed_back_uncounted",
    ),
    Mutant(
        "an unknown route counts as an attempt",
        "worker_app/desk.py",
        "self.back.append((leased.id, leased.fence, delay_ms, 0, reason))",
        "self.back.append((leased.id, leased.fence, delay_ms, 1, reason))",
        "a task dies of workers that do not know its route",
        "tests/worker/test_loop.py::test_an_unknown_route_is_handed_back_uncounted",
    ),
    Mutant(
        "a route's attempts are not looked at",
        "worker_app/desk.py",
        "if leased.attempt > route.attempts:",
        "if leased.attempt > 255:",
        "a handler that may run once runs again where its worker died",
        "tests/worker/test_leases.py::test_what_was_lost_with_its_only_attempt_is_not_run_again",
    ),
    Mutant(
        "a refused outcome takes the others along",
        "worker_app/loop.py",
        "            await self._publish_singly(batch)\n",
        "            self._desk.settle([one[1] for one in batch])\n"
        "            del desk.ended[: len(batch)]\n",
        "good answers of the same batch are lost",
        "tests/worker/test_refused.py::test_an_outcome_that_is_refused_takes_no_other_along",
    ),
    Mutant(
        "a cancel does not reach the handler",
        "worker_app/hints.py",
        "            self._on_told(int(fence))\n",
        "            pass\n",
        "work goes on for somebody who has gone, until the next renewal",
        "tests/worker/test_outcomes.py::test_a_cancelled_task_stops_its_handler",
    ),
)

GATEWAY = (
    Mutant(
        "what Connection names travels on",
        "pyclient/http/headers.py",
        'named = connection_names(seen[b"connection"])',
        "named = frozenset()",
        "hop-by-hop headers reach the target",
        "tests/http/test_headers.py::test_what_connection_names_is_dropped_but_not_what_is_ours",
        first=True,
    ),
    Mutant(
        "anybody's word about himself is believed",
        "pyclient/http/headers.py",
        "if not (trusted and name in _CLAIMS):",
        "if name not in _CLAIMS:",
        "X-Forwarded-Proto and X-Real-IP of a stranger reach the target",
        "tests/http/test_headers.py::test_the_claims_of_an_untrusted_peer_are_replaced",
    ),
    Mutant(
        "a twin with an underscore travels on",
        "pyclient/http/headers.py",
        'elif b"_" in name and name in _TWINS:',
        'elif b"_" in name and name in _OURS:',
        "X_Forwarded_For of a stranger passes for ours behind CGI",
        "tests/http/test_headers.py::test_twins_that_a_cgi_would_mix_up_are_dropped",
    ),
    Mutant(
        "a body of any size is read",
        "gateway_app/bodies.py",
        "        if limit is not None and total > limit:\n",
        "        if limit is not None and total > limit * 1000:\n",
        "a chunked upload fills the memory",
        "tests/gateway/test_refusals.py::test_a_body_that_grows_too_long_is_refused_and_the_client_reads_why",
    ),
    Mutant(
        "a slow body is waited for",
        "gateway_app/bodies.py",
        "        async with asyncio.timeout(idle):\n",
        "        async with asyncio.timeout(None):\n",
        "slow clients hold all connections",
        "tests/gateway/test_refusals.py::test_limits_hosts_and_proxies_are_settings",
    ),
    Mutant(
        "any number of headers",
        "gateway_app/guard.py",
        "or len(headers) > self._max_headers:",
        "or len(headers) < 0:",
        "ten thousand header lines travel through Redis",
        "tests/gateway/test_guard.py::test_there_is_a_bound_on_everything",
    ),
    Mutant(
        "length and chunks may both be given",
        "gateway_app/guard.py",
        "        if lengths:\n            return _bad",
        "        if len(lengths) > 9:\n            return _bad",
        "one request is two behind another server",
        "tests/gateway/test_guard.py::test_a_request_that_could_be_read_in_two_ways_is_refused",
        first=True,
    ),
    Mutant(
        "two Hosts",
        "gateway_app/guard.py",
        "if len(hosts) != 1 or _HOST",
        "if not hosts or _HOST",
        "guard and target read different hosts",
        "tests/gateway/test_guard.py::test_a_request_that_could_be_read_in_two_ways_is_refused",
    ),
    Mutant(
        "waiting alone is the deadline",
        "pyclient/queue.py",
        "(wait_ms + run_ms) / 1000",
        "wait_ms / 1000",
        "what began late is given up while it runs",
        "tests/pyclient/test_exchange.py::test_what_begins_in_time_may_run_for_its_own_time",
    ),
    Mutant(
        "a POST is tried twice",
        "gateway_app/queued.py",
        "return data, 2 if keyed or request.method in SAFE else 1",
        "return data, 2",
        "an order is placed twice where a worker died",
        "tests/gateway/test_failures.py::test_a_worker_killed_in_the_middle_costs_a_post_a_502_and_a_get_nothing",
    ),
    Mutant(
        "a POST is sent again on another connection",
        "pyclient/http/client.py",
        "                return await buffer.future\n            except UpstreamBroke:\n"
        "                if not (reused and safe)",
        "                return await buffer.future\n            except UpstreamBroke:\n"
        "                if not reused",
        "an order is placed twice where a connection broke",
        "tests/http/test_pool.py::test_any_other_method_is_not_sent_again",
    ),
    Mutant(
        "a client that has gone is served",
        "gateway_app/gone.py",
        "            self.gone = True\n            self._task.cancel()\n",
        "            self.gone = True\n",
        "work for somebody who has left",
        "tests/gateway/test_failures.py::test_a_client_that_leaves_the_line_takes_its_request_with_it",
    ),
)

APPS = (*WORKER, *GATEWAY)
