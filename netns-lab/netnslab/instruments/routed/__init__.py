"""Instruments of the routed network: the kernel's routes, many flows, and who answers them."""
