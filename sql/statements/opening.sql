-- name: server
-- What this server and database are, and what this role may do there.
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS is_replica,
       (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only') AS is_read_only,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_stage, current_database() AS database;

-- name: wrong_table
-- The first of the tables $1 that is not as raw's are, with the columns $2 of the types $3, and what is wrong with it;
-- one that isn't there is none, nor is a column that is made when it isn't there ($4). A column that others need and
-- nobody here fills would refuse every record.
SELECT t.name AS table, found.wrong
  FROM unnest($1::text[]) WITH ORDINALITY AS t (name, place) JOIN pg_class c ON c.oid = to_regclass(t.name)
 CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'p' THEN 'it is partitioned' WHEN 'r' THEN
            coalesce(
                (SELECT format('it has %s %s, which should be %s', w.name, coalesce(format_type(a.atttypid, a.atttypmod), 'not at all'), w.type)
                   FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w (name, type, place)
                   LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w.name AND NOT a.attisdropped
                  WHERE a.atttypid <> w.type::regtype OR (a.attnum IS NULL AND w.name <> ALL ($4::text[]))
                  ORDER BY w.place LIMIT 1),
                (SELECT format('its column %s may not be null, has no default, and is not this program''s', a.attname)
                   FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef
                    AND a.attidentity = '' AND a.attname <> ALL ($2::text[]) LIMIT 1),
                CASE WHEN NOT EXISTS (
                    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'id'
                     WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
                       AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
                THEN 'its id has no primary key or unique index that isn''t deferrable' END) ELSE 'it is no table' END
       ) AS found (wrong)
 WHERE found.wrong IS NOT NULL
 ORDER BY t.place LIMIT 1;

-- name: load_hindered
-- What would keep rows from the tables of raw ($1) named $2 or from the ledger: a table on which row-level security stands
-- between its rows and this role, a right that a run needs and the role has not, and somebody's trigger or rule of one of
-- raw's by which a row may be written otherwise than it came, or not at all; null where there is none.
SELECT (SELECT format('%s.%s', c.relnamespace::regnamespace, c.relname)
          FROM pg_class c
         WHERE c.relnamespace::regnamespace::text = ANY (ARRAY[$1, 'ops']) AND c.relkind IN ('r', 'p') AND c.relrowsecurity
           AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
           AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))
         ORDER BY 1 LIMIT 1) AS hidden,
       (SELECT format('%s on %s', needed.privilege, c.oid::regclass)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
               unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed (privilege)
         WHERE c.relkind IN ('r', 'p')
           AND ((n.nspname = $1 AND c.relname = ANY ($2::text[]))
             OR (n.nspname = 'ops' AND c.relname = ANY (
                     '{runs,chunks,run_chunks,attempts,quarantine,validations,seals,changed_days,daily_volume}')))
           AND NOT has_any_column_privilege(c.oid, needed.privilege)
         ORDER BY c.oid::regclass::text, needed.privilege LIMIT 1) AS lacking,
       (SELECT format('%s %I ON %s', found.kind, found.name, c.oid::regclass)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
               LATERAL (SELECT 'TRIGGER', tgname FROM pg_trigger
                         WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgname <> 'changed'
                           AND tgtype & 3 = 3 AND tgtype & 20 <> 0  -- BEFORE, FOR EACH ROW; INSERT or UPDATE
                         UNION ALL
                        SELECT 'RULE', rulename FROM pg_rewrite WHERE ev_class = c.oid AND ev_enabled IN ('O', 'A')
                       ) AS found (kind, name)
         WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) AND c.relkind = 'r'
         ORDER BY 1 LIMIT 1) AS altering;

-- name: raw_tables
-- Which of the tables $2 are in the schema $1, and whether each is as raw_entity.sql makes it: with the columns $3, and the
-- trigger that it makes last.
SELECT c.relname::text AS name,
       EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'brought')
       AND $3::text[] <@ ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND NOT attisdropped) AS is_current
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace($1) AND c.relname = ANY ($2::text[]) AND c.relkind IN ('r', 'p');

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

-- name: may_make_in
-- Whether the role may make views in the schema $1, which it may have to make first.
SELECT CASE WHEN to_regnamespace($1) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege($1, 'CREATE') END;

-- name: one_migration_at_a_time
-- Until the transaction's end; a session that migrates already goes on.
SELECT pg_advisory_xact_lock(hashtext('ops.schema_versions'), 0);

-- name: tables_of
-- The tables of the schema $1.
SELECT coalesce(array_agg(tablename::text), '{}') FROM pg_tables WHERE schemaname = $1;

-- name: views_of
-- What stands in the schema $1: whether it is a view of ours, by what its comment begins with ($2), and its columns.
SELECT c.relname::text AS name,
       c.relkind = 'v' AND starts_with(coalesce(obj_description(c.oid, 'pg_class'), ''), $2) AS ours,
       (SELECT array_agg(a.attname || ': ' || coalesce(col_description(c.oid, a.attnum), '') ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace($1) AND c.relkind IN ('r', 'v', 'm', 'f', 'p');

-- name: others_in_ops
-- What others have made in ops of version 0.1.0, whose own relations are $1, or on it, by name; null where there is nothing.
WITH own AS (SELECT oid, relname, relkind FROM pg_class WHERE relnamespace = 'ops'::regnamespace)
SELECT string_agg(name, ', ' ORDER BY name) FROM (
    SELECT relname AS name FROM own WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relname <> ALL ($1::text[])
    UNION
    SELECT format('%s.%s', n.nspname, v.relname)
      FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
     WHERE d.refobjid IN (SELECT oid FROM own) AND v.relnamespace <> 'ops'::regnamespace
    UNION
    SELECT format('%s of %s', conname, conrelid::regclass) FROM pg_constraint
     WHERE contype = 'f' AND confrelid IN (SELECT oid FROM own) AND conrelid NOT IN (SELECT oid FROM own)
    UNION
    SELECT p.oid::regprocedure::text
      FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass
     WHERE d.refobjid IN (SELECT oid FROM own) AND p.pronamespace <> 'ops'::regnamespace) AS others;
