"""The speaker's gossip side: members, its key, and the table that a person may ask for."""
