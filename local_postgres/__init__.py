"""A PostgreSQL of its own from a wheel: for the demo, the tests, and machines without a server."""
