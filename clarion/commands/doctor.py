"""`clarion doctor`: see `clarion/doctor`."""

from clarion.doctor.command import doctor

__all__ = ["doctor"]
