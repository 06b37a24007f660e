"""BGP and BFD by FRR: what is wanted of the engine, as its lines, and the door to it."""
