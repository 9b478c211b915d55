"""Grids of runs, one after another, whatever happens: python -m sadajem_jax.sweep ..."""
