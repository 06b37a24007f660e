"""`clarion drain`: see `clarion/drain`."""

from clarion.drain.command import drain

__all__ = ["drain"]
