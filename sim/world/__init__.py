"""A whole cluster in virtual time: clock, network, segment, kernels, machines and faults. Pure."""
