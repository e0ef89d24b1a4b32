"""The product's forwarding worker with its calls written down.

For `python -m worker_app tests.faults.forwarder:worker`: what `python -m worker_app` serves.
"""

from __future__ import annotations

from pyclient.settings import load
from worker_app.builtin import make_worker

from .forwarding import note_starts
from .history import Recorder
from .recorded import Crash, wrap

record = Recorder.of_environment()
wrap(record, Crash(record))
note_starts(record)
worker = make_worker(load())
