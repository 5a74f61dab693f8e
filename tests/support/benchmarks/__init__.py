"""What the tests of benchmarks are written with."""
