"""Mage: its blocks, secrets, database and triggers."""
