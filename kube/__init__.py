"""Kubernetes: objects in small frozen views, manifests in a directory, and the API server."""
