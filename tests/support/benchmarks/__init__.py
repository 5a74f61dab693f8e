"""Support for the tests of the benchmarks."""
