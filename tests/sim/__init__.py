"""Tests of the simulated cluster: that its machines behave as real ones do."""
