"""`clarion undrain`: takes back what `clarion drain` has done."""

from clarion.undrain.command import undrain as undrain
