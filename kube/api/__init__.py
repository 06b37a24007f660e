"""The state of a cluster as its API server tells it, and what is written there."""
