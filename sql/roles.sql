-- The three roles of the warehouse, and what only a superuser can take from the others. Run by one in any database of
-- the server, to make the roles, and again in the database that qbo_owner owns, before the first migration; running it
-- again changes nothing. Each role gets its password in between (\password NAME in psql).
-- What they may do with the tables is in rights.sql.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'qbo_owner') THEN
        CREATE ROLE qbo_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'qbo_extractor') THEN
        CREATE ROLE qbo_extractor LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'qbo_reader') THEN
        CREATE ROLE qbo_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
END $$;

COMMENT ON ROLE qbo_owner     IS 'Owns the warehouse''s schemas and tables; used to migrate, never to run.';
COMMENT ON ROLE qbo_extractor IS 'What the pipelines log in as. One login for all of a company''s processes: they see each other''s sessions only so.';
COMMENT ON ROLE qbo_reader    IS 'Reads raw and ops, writes nothing. People may have roles of their own IN ROLE qbo_reader.';

-- A second lock beside the missing rights; and a transaction left open in a window must not hold VACUUM back.
ALTER ROLE qbo_reader SET default_transaction_read_only = on;
ALTER ROLE qbo_reader SET idle_in_transaction_session_timeout = '10min';

-- Runs and chunks are held by advisory locks. A role that only reads must not be able to take one and so stop a run;
-- and nobody but the owner makes functions in public, which Postgres before 15 allows to all.
DO $$
DECLARE
    lock_function record;
BEGIN
    IF 'qbo_owner' <> (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()) THEN
        RETURN;
    END IF;
    FOR lock_function IN
        SELECT oid::regprocedure AS signature FROM pg_proc
         WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_(xact_)?lock'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', lock_function.signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO qbo_owner, qbo_extractor', lock_function.signature);
    END LOOP;
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public') THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;
END $$;
