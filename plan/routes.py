"""The routes of all services together: who hears of which prefix, kept up to date. Pure."""
