"""Frozen views of only what is read of each kind of object, and how they are read."""
