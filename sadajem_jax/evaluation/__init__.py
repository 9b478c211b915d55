"""Evaluators: one a file, generators of (name, value) that know nothing of logging."""
