"""Who lives: kernels by echo, processes by beats, and what counts as a verdict. Pure."""
