"""`python -m bsc`."""

from bsc.cli import main

main(prog_name="bsc")
