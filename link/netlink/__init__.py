"""What the kernel tells of links, addresses and routes (rtnetlink)."""
