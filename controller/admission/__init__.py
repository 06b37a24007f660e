"""Which objects of the configuration are let in, by MetalLB's rules. Pure."""
