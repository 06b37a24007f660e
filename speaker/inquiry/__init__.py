"""What this speaker answers on its local socket: who owns what, and why."""
