"""The course as a web site: its sources, its build, and its check in a browser."""
