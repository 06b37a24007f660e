"""Kubernetes objects, read into small frozen views of only what the speaker uses."""
