-- Fetching goes on while the page before is loaded. What the worker stands still for and what goes on beside a load
-- are counted apart, so that wait + fetch + split + copy + merge and a small rest are an attempt's wall time.

ALTER TABLE ops.attempts ADD COLUMN overlapped_seconds double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.attempts.overlapped_seconds IS 'Waiting, fetching and splitting that went on while the page before was loaded: not in the other figures.';
COMMENT ON COLUMN ops.attempts.wait_seconds       IS 'The worker stood still for the budget, the breaker or a pause.';
COMMENT ON COLUMN ops.attempts.fetch_seconds      IS 'The worker stood still for Intuit''s answers and reading them.';
COMMENT ON COLUMN ops.attempts.split_seconds      IS 'The worker stood still while a page was cut into records.';
