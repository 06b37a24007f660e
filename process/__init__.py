"""What every process of Clarion is made of: logs, pages over HTTP, threads, and the interpreter."""
