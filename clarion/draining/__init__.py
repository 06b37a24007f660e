"""Draining a node: what it has to hand over, who takes it, and what would be left without."""
