"""All mutants."""

from __future__ import annotations

from .mutants_leases import LEASES, RECORDS, SWEEPS
from .mutants_lines import ENDS, HINTS, ROUTES
from .mutants_standing import GIFTS, STANDS

MUTANTS = (*LEASES, *RECORDS, *SWEEPS, *ROUTES, *HINTS, *ENDS, *GIFTS, *STANDS)
