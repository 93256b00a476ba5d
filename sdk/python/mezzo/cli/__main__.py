"""`python -m mezzo.cli` is the `mezzo` command."""

from mezzo.cli import main

main()
