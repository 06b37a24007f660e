"""NDP (RFC 4861): neighbour messages, who gets an answer, announcing frames, multicast groups."""
