"""The door to the engine: FRR's vty sockets, spoken by asyncio."""
