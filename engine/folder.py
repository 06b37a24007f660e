"""The folder that speaker and engine share: who writes which file, and what it says."""

from pathlib import Path

FOLDER = Path("/run/frr")
"""Where FRR of Debian has its sockets."""
WANTED = "wanted"
"""The speaker's: there are BGP objects, so the daemons are to run."""
DRAINED = "drained"
"""The speaker's: whoever came to this node goes elsewhere by now, so the engine may end."""
DAEMONS = "daemons"
"""The engine's: the names of the daemons that it runs, one a line."""


def socket_of(folder: Path, daemon: str) -> Path:
    """Return where the daemon takes its lines."""
    return folder / f"{daemon}.vty"
