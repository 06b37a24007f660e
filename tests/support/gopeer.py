"""The Go peer: memberlist itself, built once."""

import sys
from pathlib import Path

from gobuild import BuildError, build_once

SOURCES = Path(__file__).parents[1] / "foreign" / "gopeer"
BUILD_TIMEOUT = 300.0


def build() -> Path:
    """The path of the program. Raises BuildError."""
    return build_once("gopeer", SOURCES, BUILD_TIMEOUT)


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
