"""Generates documents and pictures from the code."""
