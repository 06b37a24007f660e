"""`clarion drain`: what a node has to hand over, who takes it, and what would be left without."""

from clarion.drain.command import drain as drain
