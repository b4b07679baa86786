"""Tests, in folders that mirror the packages; a package, for others install one of this name."""
