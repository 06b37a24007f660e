"""`clarion undrain`: see `clarion/undrain`."""

from clarion.undrain.command import undrain

__all__ = ["undrain"]
