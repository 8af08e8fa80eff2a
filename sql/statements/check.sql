-- name: session_facts
-- What `check` tells of the server and the database, none of which stops a run. The folder is null for who may not see it.
SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
       (SELECT s.version FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()) AS tls,
       pg_database_size(current_database()) AS bytes,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS folder;

-- name: missing_right
-- A right that a run needs and the role has not, on the tables of raw ($1) named $2 and on the ledger; null when none.
SELECT format('%s on %s', needed.privilege, c.oid::regclass)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
       unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed (privilege)
 WHERE c.relkind IN ('r', 'p')
   AND ((n.nspname = $1 AND c.relname = ANY ($2::text[]))
     OR (n.nspname = 'ops' AND c.relname = ANY ('{runs,chunks,run_chunks,attempts,quarantine,validations}')))
   AND NOT has_any_column_privilege(c.oid, needed.privilege)
 ORDER BY c.oid::regclass::text, needed.privilege LIMIT 1;
