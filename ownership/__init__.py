"""Which node owns each service IP, and how an IP changes hands. Pure; `ownership` is its door."""
