"""What this speaker has decided lately, and why: kept in memory, told when somebody asks."""
