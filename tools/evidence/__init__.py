"""Remakes `evidence/`: real runs on the simulator, photographed in a real browser and written down as text.

`make evidence` calls it. It needs Chromium, and a package index for pgAdmin, which it installs the first time.
"""
