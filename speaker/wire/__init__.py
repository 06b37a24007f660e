"""Packet and echo sockets: what comes in from the links, and what goes out by them."""
