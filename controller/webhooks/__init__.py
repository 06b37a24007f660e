"""Serves admission and conversion to the API server, with certificates of its own making."""
