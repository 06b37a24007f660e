"""Which addresses each service gets, by MetalLB's rules. Pure."""
