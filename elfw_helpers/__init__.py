"""Helpers of the ELFW course: faces, their attributes and their segmentation."""

__version__ = "0.1.0"
