"""`python -m pyclient.cli` is `peakshaver`, also where the command is not installed."""

import sys

from .entry import main

if __name__ == "__main__":
    sys.exit(main())
