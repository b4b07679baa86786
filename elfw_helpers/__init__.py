"""Helpers of the ELFW course: faces, their attributes and their segmentation."""

import os

__version__ = "0.1.0"

# Read when torch is loaded, hence here. Threads that wait by spinning would take the time of those that work:
# beside other programs, training would be up to fifty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
