"""What Clarion nodes tell each other: their mark in gossip's Meta, and letters. Pure."""
