"""Addresses for the services of a folder of manifests, kept in a state file: no cluster needed."""
