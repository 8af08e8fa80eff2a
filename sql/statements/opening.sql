-- name: server
-- What this server and database are, and what this role may do there.
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS is_replica,
       (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only') AS is_read_only,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_stage, current_database() AS database;

-- name: wrong_table
-- What is wrong with a table of raw ($1), which should have the columns $2 of the types $3; null when it is as it
-- should be, or isn't there. A column that others need and nobody here fills would refuse every record.
SELECT CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'it is no table'
            ELSE coalesce(
                (SELECT format('it has %s %s, which should be %s', w.name, coalesce(format_type(a.atttypid, a.atttypmod), 'not at all'), w.type)
                   FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w (name, type, place)
                   LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w.name AND NOT a.attisdropped
                  WHERE a.attnum IS NULL OR a.atttypid <> w.type::regtype
                  ORDER BY w.place LIMIT 1),
                (SELECT format('its column %s may not be null, has no default, and is not this program''s', a.attname)
                   FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef
                    AND a.attidentity = '' AND a.attname <> ALL ($2::text[]) LIMIT 1),
                CASE WHEN NOT EXISTS (
                    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'id'
                     WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                       AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
                THEN 'its id has no primary key or unique index' END) END
  FROM pg_class c WHERE c.oid = to_regclass($1);

-- name: raw_tables
-- Which of the tables $2 are in the schema $1, and whether each is as raw_entity.sql makes it: its trigger is the last that
-- this makes.
SELECT c.relname::text AS name, EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'changed') AS is_current
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace($1) AND c.relname = ANY ($2::text[]) AND c.relkind IN ('r', 'p');

-- name: row_security
-- A table of the schemas $1 on which row-level security stands between its rows and this role.
SELECT format('%s.%s', c.relnamespace::regnamespace, c.relname)
  FROM pg_class c
 WHERE c.relnamespace::regnamespace::text = ANY ($1::text[]) AND c.relkind IN ('r', 'p') AND c.relrowsecurity
   AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
   AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))
 ORDER BY 1 LIMIT 1;

-- name: schema_exists
SELECT to_regnamespace($1) IS NOT NULL;

-- name: holders
-- Who holds the advisory lock of the class $1 and the number $2, in words.
SELECT string_agg(format('pid %s (%s%s)', l.pid, a.usename, ', ' || nullif(a.application_name, '')), ', ')
  FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.classid::bigint = (hashtext($1)::bigint & 4294967295) AND l.objid::bigint = ($2::bigint & 4294967295);

-- name: may_lock
-- Roles that only read, and could hold the advisory locks that runs wait for.
SELECT coalesce(array_agg(rolname::text ORDER BY rolname), '{}') FROM pg_roles
 WHERE rolname = 'qbo_reader' AND has_function_privilege(oid, 'pg_advisory_lock(integer,integer)', 'EXECUTE');
