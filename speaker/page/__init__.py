"""The page of a speaker, for whoever opens its HTTP port in a browser."""
