"""Measurements of what the documents promise. Each command ends with one JSON line; a benchmark is no test."""
