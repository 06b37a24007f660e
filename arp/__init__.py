"""ARP (RFC 826): the packet, who gets an answer, and the frames that announce a takeover."""
