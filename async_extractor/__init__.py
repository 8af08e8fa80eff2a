"""Backfill QuickBooks Online entities into Postgres."""
