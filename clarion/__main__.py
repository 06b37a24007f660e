"""Lets `python -m clarion` run it."""

from clarion.cli import main

main()
