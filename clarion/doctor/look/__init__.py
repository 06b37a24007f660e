"""What the doctor looks with: the kernel, the wire, the cluster, other speakers. Drivers."""
