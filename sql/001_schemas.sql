-- Two schemas: raw holds what Intuit sent, ops holds how it got here.
CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS ops;

COMMENT ON SCHEMA raw IS 'QuickBooks Online records exactly as Intuit sent them, one table an entity, one row an Id.';
COMMENT ON SCHEMA ops IS 'How the records in raw got there: runs, chunks, attempts, quarantine, the shared budget.';
