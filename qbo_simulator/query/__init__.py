"""QuickBooks' query language: what a statement says, what its properties are, which rows it means."""
