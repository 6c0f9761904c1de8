"""Tests of the measurements: what they find in material whose truth is known."""
