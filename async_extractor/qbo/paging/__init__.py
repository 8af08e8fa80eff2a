"""Keyset pagination of one window."""
