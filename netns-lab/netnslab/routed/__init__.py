"""The lab's routed network: nodes, routers that learn from them by BGP, and a client."""
