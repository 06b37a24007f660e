"""`python -m netnslab`: see `cli`."""

from netnslab.cli import main

main()
