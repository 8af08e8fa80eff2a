#!/bin/sh
# Runs once, on an empty data volume: the roles, the warehouse, and a database of Mage's own.
# No password is on a command line, in the environment, or in the log: psql reads each from its file.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
SET log_min_error_statement = panic;
\i /opt/backfill/roles.sql
CREATE ROLE mage LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
COMMENT ON ROLE mage IS 'Owns the database mage, where Mage keeps pipelines'' runs and its encrypted secrets.';

\set password `cat /run/secrets/warehouse_owner_password`
ALTER ROLE qbo_owner PASSWORD :'password';
\set password `cat /run/secrets/extractor_password`
ALTER ROLE qbo_extractor PASSWORD :'password';
\set password `cat /run/secrets/reader_password`
ALTER ROLE qbo_reader PASSWORD :'password';
\set password `cut -d: -f5 /run/secrets/mage_pgpass`
ALTER ROLE mage PASSWORD :'password';

CREATE DATABASE warehouse OWNER qbo_owner;
CREATE DATABASE mage OWNER mage;
REVOKE ALL ON DATABASE warehouse, mage, postgres, template1 FROM PUBLIC;

\connect warehouse
SET log_min_error_statement = panic;
\i /opt/backfill/roles.sql

-- From here on the superuser gets in by the container's own socket only: docker compose exec postgres psql -U postgres
ALTER ROLE postgres PASSWORD NULL;
SQL
