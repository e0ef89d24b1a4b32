"""Mutants of the Python, and the table of all mutants."""
