"""Extraction: workers that claim chunks, read their pages and load them."""
