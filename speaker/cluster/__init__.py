"""The speaker's Kubernetes side: its source, and what it publishes."""
