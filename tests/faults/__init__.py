"""Breaks things on purpose while a load runs, and judges what the history says happened."""
