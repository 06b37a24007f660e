"""`python3 -m engine`: run the daemons. `python3 -m engine drained --within 20`: for `preStop`."""

import argparse
import sys
from pathlib import Path

from engine.daemons import PROGRAMS, crew
from engine.drain import wait_until_drained
from engine.folder import FOLDER
from engine.supervisor import run, tell


def main(words: list[str]) -> int:
    """Return the exit status: 2 without a folder to work in, 1 if nobody drains in time."""
    asked = _arguments().parse_args(words)
    if asked.what == "drained":
        return 0 if wait_until_drained(asked.folder, asked.within) else 1
    try:
        daemons = crew(asked.programs, not asked.without_bfd)
        run(asked.folder, asked.programs, daemons, asked.realtime)
    except OSError as error:
        tell("fatal", error=str(error))
        return 2
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="engine", allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=["run", "drained"], default="run")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--programs", type=Path, default=PROGRAMS)
    parser.add_argument("--without-bfd", action="store_true")
    parser.add_argument("--realtime", action="store_true", help="BFD first; wants SYS_NICE")
    parser.add_argument("--within", type=float, default=20.0, help="seconds")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
