"""What a speaker tells of itself on its local socket: values, and sentences for people."""
