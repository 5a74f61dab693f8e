"""What Latchkey costs, measured: the programs whose results docs/benchmarks.md is made from."""
