"""Grading: runs submissions again in a sandbox, asks them probes, and judges the answers outside it."""
