"""``python -m benchmarks``: the command ``latchkey-bench``."""

from benchmarks.command import main

main(prog_name="latchkey-bench")
