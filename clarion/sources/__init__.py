"""Where a picture of the cluster comes from: dumps, or an API server."""
