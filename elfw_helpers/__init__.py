"""Helpers of the ELFW course: faces, their attributes and their segmentation."""

import os

__version__ = "0.2.0"

# Read when torch is loaded, hence here. Threads that wait by spinning take the time of those that work:
# beside other programs, training would be up to fifty times slower. Threads that sleep at once are slower on
# a quiet machine. So GNU's threads look 600 times before they sleep (benchmarks/busy_machine.py).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "600")
