-- name: session_facts
-- What `check` tells of the server and the database, none of which stops a run. The folder is null for who may not see it.
SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
       (SELECT s.version FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()) AS tls,
       pg_database_size(current_database()) AS bytes,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS folder;
