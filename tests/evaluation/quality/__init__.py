"""Tests of the quality measures."""
