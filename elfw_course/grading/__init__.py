"""Grading by running submissions again: probes are answered in a sandbox, and judged outside it."""
