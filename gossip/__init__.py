"""SWIM gossip with Lifeguard, in the wire format of hashicorp/memberlist."""
