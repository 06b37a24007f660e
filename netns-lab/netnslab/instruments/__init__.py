"""Who looks on: processes of their own that ask, listen and attack."""
