"""Random walks: commands of every kind, cut off and side by side, over books that change, and an oracle that knows
those books. `python -m tests.chaos.walks --seeds 0-199` walks; `tests/chaos/test_walks.py` does so in the tests."""
