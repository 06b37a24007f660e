"""The running speaker of this node, asked through its local socket."""
