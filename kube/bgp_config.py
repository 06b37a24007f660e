"""BGP objects judged as a whole, as MetalLB does: one error refuses them all. Pure."""
