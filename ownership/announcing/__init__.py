"""What this node answers for, and the frames that tell clients so. Pure."""
