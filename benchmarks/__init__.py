"""Measurements of what Latchkey costs; docs/benchmarks.md is generated from their results."""
