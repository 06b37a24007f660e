"""Reads services and pools from the API server, and writes what was decided."""
