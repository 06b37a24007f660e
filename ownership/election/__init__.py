"""Which node should own each service, by MetalLB's hash. Pure."""
