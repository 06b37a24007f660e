"""`python -m netnslab`: see `cli`."""

import sys

from netnslab.errors import LabError

try:
    from netnslab.cli import main
except LabError as error:
    # scenarios.toml is read before there is a command line.
    print(f"lab: {error}", file=sys.stderr)
    sys.exit(2)
main()
