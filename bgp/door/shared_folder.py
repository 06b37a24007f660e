"""The folder that speaker and engine share, from the speaker's side. A driver.

`engine/folder.py` says the same from the other side; no image holds both.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/run/frr")
WANTED, DRAINED, DAEMONS = "wanted", "drained", "daemons"
MEMORY = "extras"
"""What the speaker keeps for the one after it; it goes with the engine, as the folder does."""
MOST_BYTES = 1024
"""Of the list of daemons."""
MOST_MEMORY = 1 << 20
"""Bytes."""
KNOWN = ("mgmtd", "zebra", "bgpd", "bfdd")
SPARE: Mapping[str, str] = {"zebra": "mgmtd"}
"""Who takes another's lines in its place, where it is there: FRR 10."""


class SharedFolder:
    """Files of a few bytes, in memory. Nothing here raises."""

    def __init__(self, path: Path = FOLDER) -> None:
        self.path = path

    def want(self, wanted: bool) -> bool:
        """Have the engine run, or not; return whether that could be said."""
        return self._set(DRAINED, False) and self._set(WANTED, wanted)

    def tell_drained(self) -> bool:
        """Let the engine's container end; return whether that could be said."""
        return self._set(DRAINED, True)

    def daemons(self) -> tuple[str, ...]:
        """Return the daemons that the engine runs; none where there is no engine."""
        try:
            with (self.path / DAEMONS).open("rb") as file:
                names = file.read(MOST_BYTES).decode("ascii", "replace").split()
        except OSError:
            return ()
        return tuple(name for name in KNOWN if name in names)

    def remember(self, content: bytes) -> None:
        """Keep it for the speaker after us; where that cannot be, it has nothing."""
        part = self.path / f".{MEMORY}"
        with suppress(OSError):
            part.touch(0o600)
            part.write_bytes(content[:MOST_MEMORY])
            part.rename(self.path / MEMORY)

    def memory(self) -> bytes:
        """Return what the speaker before us kept; nothing where there was none."""
        try:
            with (self.path / MEMORY).open("rb") as file:
                return file.read(MOST_MEMORY)
        except OSError:
            return b""

    def socket(self, daemon: str) -> Path:
        """Return where the daemon takes its lines."""
        return self.path / f"{daemon}.vty"

    def _set(self, name: str, there: bool) -> bool:
        try:
            if there:
                (self.path / name).touch()
            else:
                (self.path / name).unlink(missing_ok=True)
        except OSError:
            return False
        return True
