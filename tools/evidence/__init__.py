"""Remakes `evidence/`: real runs on the simulator, photographed in a real browser and written down as text.

`make evidence` calls it. It needs Chromium; pgAdmin's pictures need a container engine with pgAdmin's image as
well, and are left out, by name, where there is none.
"""
