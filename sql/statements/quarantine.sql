-- name: resolve_quarantine
-- A record that has arrived in raw since it was set aside is no longer in quarantine.
UPDATE ops.quarantine q SET resolved_at = clock_timestamp()
  FROM raw.{table} t
 WHERE q.realm_id = $1 AND q.entity = $2 AND q.resolved_at IS NULL
   AND q.record_id = t.id AND t.ingested_at_utc > q.quarantined_at;

-- name: count_quarantine
SELECT count(*) FROM ops.quarantine WHERE realm_id = $1 AND entity = $2 AND resolved_at IS NULL;

-- name: count_quarantine_of_run
SELECT count(*) FROM ops.quarantine WHERE run_id = $1 AND resolved_at IS NULL;
