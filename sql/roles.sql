-- The three roles of the warehouse. Run once by a superuser, in any database of the server, before the first
-- migration; running it again changes nothing. Each gets its password afterwards (\password NAME in psql).
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
