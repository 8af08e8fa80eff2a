"""Planning: what of a range is left to read, cut into chunks, and what that costs."""
