"""The local socket: one process of ours is asked by another on the same machine."""
