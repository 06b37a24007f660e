"""Lets `python -m speaker` run it."""

from speaker.cli import main

main()
