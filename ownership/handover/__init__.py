"""How an IP goes from its loser to its heir, without two owners and without none. Pure."""
