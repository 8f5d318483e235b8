"""Tests of the exhaustive search itself."""
