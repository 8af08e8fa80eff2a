-- Two schemas: raw holds what Intuit sent, ops holds how it got here. Those that a DBA has made are used as they are:
-- IF NOT EXISTS would ask for the right to make schemas all the same.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('raw', 'QuickBooks Online records exactly as Intuit sent them, one table an entity, one row an Id.'),
            ('ops', 'How the records in raw got there: runs, chunks, attempts, quarantine, the shared budget.')) AS v (name, says)
    LOOP
        IF to_regnamespace(wanted.name) IS NULL THEN
            EXECUTE format('CREATE SCHEMA %I', wanted.name);
        END IF;
        IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = wanted.name) THEN
            EXECUTE format('COMMENT ON SCHEMA %I IS %L', wanted.name, wanted.says);
        END IF;
    END LOOP;
END $$;
