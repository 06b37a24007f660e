"""MetalLB's rules: from the cluster's objects to what each service needs. Pure."""
