-- From version 0.1.0: the rows of its schema, which is called ops_0_1_0 from here on, into the one of today. What only
-- lives for a minute (turns, the queue, outages) is left behind.
COMMENT ON SCHEMA ops_0_1_0 IS 'What ops was in version 0.1.0. Nothing is written here any more: DROP SCHEMA ops_0_1_0 CASCADE, once nothing of your own uses it.';

INSERT INTO ops.company (raw_schema, realm_id, environment, first_seen_at)
SELECT raw_schema, realm_id, environment, first_seen_at
  FROM ops_0_1_0.company ON CONFLICT DO NOTHING;

INSERT INTO ops.runs (run_id, realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency, status, as_of, source_count,
       requests_sent, requests_retried, requests_throttled, error, settings, started_at, finished_at) OVERRIDING SYSTEM VALUE
SELECT run_id, realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency, status, as_of, source_count,
       requests_sent, requests_retried, requests_throttled, error, settings, started_at, finished_at
  FROM ops_0_1_0.runs;

-- Version 0.1.0 did not know as of when a window was read: it counts from its attempt's start, or from its planning, and
-- edits and deletions since then are owed.
INSERT INTO ops.chunks (chunk_id, realm_id, entity, filter_field, kind, window_start, window_end, range_start, range_end, status, expected_rows,
       attempt, error, intuit_tid, planned_at, done_at, as_of) OVERRIDING SYSTEM VALUE
SELECT chunk_id, realm_id, entity, filter_field, kind, window_start, window_end, range_start, range_end, status, expected_rows,
       attempt, error, intuit_tid, planned_at, done_at,
       least(planned_at, (SELECT min(a.started_at) FROM ops_0_1_0.attempts a WHERE a.chunk_id = c.chunk_id))
  FROM ops_0_1_0.chunks c;

INSERT INTO ops.run_chunks (run_id, chunk_id)
SELECT run_id, chunk_id
  FROM ops_0_1_0.run_chunks;

INSERT INTO ops.attempts (chunk_id, attempt, run_id, outcome, pages, requests, retries, throttled, rows_read, rows_inserted, rows_updated,
       rows_unchanged, rows_quarantined, bytes_read, wait_seconds, fetch_seconds, split_seconds, copy_seconds, merge_seconds,
       overlapped_seconds, error, started_at, finished_at)
SELECT chunk_id, attempt, run_id, outcome, pages, requests, retries, throttled, rows_read, rows_inserted, rows_updated,
       rows_unchanged, rows_quarantined, bytes_read, wait_seconds, fetch_seconds, split_seconds, copy_seconds, merge_seconds,
       overlapped_seconds, error, started_at, finished_at
  FROM ops_0_1_0.attempts;

INSERT INTO ops.quarantine (quarantine_id, realm_id, entity, record_id, reason, record, chunk_id, run_id, page_number, request_payload, intuit_tid,
       quarantined_at, resolved_at) OVERRIDING SYSTEM VALUE
SELECT quarantine_id, realm_id, entity, record_id, reason, record, chunk_id, run_id, page_number, request_payload, intuit_tid,
       quarantined_at, resolved_at
  FROM ops_0_1_0.quarantine;

INSERT INTO ops.events (event_id, run_id, happened_at, code, name, phase, level, message, fields) OVERRIDING SYSTEM VALUE
SELECT event_id, run_id, happened_at, code, name, phase, level, message, fields
  FROM ops_0_1_0.events;

INSERT INTO ops.validations (validation_id, run_id, name, severity, message, advice, found, checked_at) OVERRIDING SYSTEM VALUE
SELECT validation_id, run_id, name, severity, message, advice, found, checked_at
  FROM ops_0_1_0.validations;

INSERT INTO ops.seals (raw_schema, table_name, created_day, rows, hash, updated_from, updated_to, run_id, sealed_at)
SELECT raw_schema, table_name, created_day, rows, hash, updated_from, updated_to, run_id, sealed_at
  FROM ops_0_1_0.seals;

INSERT INTO ops.daily_volume (run_id, day, rows)
SELECT run_id, day, rows
  FROM ops_0_1_0.daily_volume;

INSERT INTO ops.usage (realm_id, month, requests)
SELECT realm_id, month, requests
  FROM ops_0_1_0.usage;

SELECT setval(pg_get_serial_sequence('ops.runs', 'run_id'), (SELECT coalesce(max(run_id), 0) + 1 FROM ops.runs), false);
SELECT setval(pg_get_serial_sequence('ops.chunks', 'chunk_id'), (SELECT coalesce(max(chunk_id), 0) + 1 FROM ops.chunks), false);
SELECT setval(pg_get_serial_sequence('ops.quarantine', 'quarantine_id'), (SELECT coalesce(max(quarantine_id), 0) + 1 FROM ops.quarantine), false);
SELECT setval(pg_get_serial_sequence('ops.events', 'event_id'), (SELECT coalesce(max(event_id), 0) + 1 FROM ops.events), false);
SELECT setval(pg_get_serial_sequence('ops.validations', 'validation_id'), (SELECT coalesce(max(validation_id), 0) + 1 FROM ops.validations), false);

-- Rights that others were given: on the schema, and on what is still there by the same name.
DO $$
DECLARE given record;
BEGIN
    FOR given IN
        SELECT format('GRANT %s ON SCHEMA ops TO %s', a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
               || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS again
          FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'ops_0_1_0' AND a.grantee <> n.nspowner
        UNION ALL
        SELECT format('GRANT %s ON ops.%I TO %s', a.privilege_type, c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
               || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
          FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.relnamespace = 'ops_0_1_0'::regnamespace AND c.relkind IN ('r', 'v') AND a.grantee <> c.relowner
           AND EXISTS (SELECT FROM pg_class o WHERE o.relnamespace = 'ops'::regnamespace AND o.relname = c.relname)
        UNION ALL
        SELECT format('GRANT %s (%I) ON ops.%I TO %s', a.privilege_type, t.attname, c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
               || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
          FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
         WHERE c.relnamespace = 'ops_0_1_0'::regnamespace AND c.relkind IN ('r', 'v') AND a.grantee <> c.relowner
           AND EXISTS (SELECT FROM information_schema.columns o
                        WHERE o.table_schema = 'ops' AND o.table_name = c.relname AND o.column_name = t.attname)
    LOOP
        EXECUTE given.again;
    END LOOP;
END $$;
