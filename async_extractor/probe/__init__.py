"""What is assumed of QuickBooks, asked of a real company: `qbo-backfill check --probe`."""
