"""The wire below ARP and NDP: frames, packet sockets, link events. Knows nothing of services."""
