"""Which prefixes a service has this node announce by BGP, and to whom: the rules. Pure."""
