"""memberlist's wire format: bytes to messages and back, without sockets, clock or chance."""
