"""Lets `python -m controller` run it."""

from controller.cli import main

main()
