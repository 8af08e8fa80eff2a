-- name: metrics_of_newest_runs
-- The newest run of each company's entity that read, for gauges of how things stand.
SELECT DISTINCT ON (realm_id, entity) *, (status = 'done')::int AS complete FROM ops.run_metrics
 WHERE mode <> 'verify' ORDER BY realm_id, entity, run_id DESC;

-- name: metrics_of_all_runs
-- Sums over all runs, for counters that only grow.
SELECT realm_id, entity, count(*) AS runs, sum(pages)::bigint AS pages, sum(requests)::bigint AS requests,
       sum(retries)::bigint AS retries, sum(throttled)::bigint AS throttled, sum(rows_read)::bigint AS rows_read,
       sum(rows_inserted)::bigint AS rows_inserted, sum(rows_updated)::bigint AS rows_updated,
       sum(rows_unchanged)::bigint AS rows_unchanged, sum(rows_quarantined)::bigint AS rows_quarantined,
       sum(bytes_read)::bigint AS bytes_read, sum(wait_seconds) AS wait, sum(fetch_seconds) AS fetch,
       sum(split_seconds) AS split, sum(copy_seconds) AS copy, sum(merge_seconds) AS merge
  FROM ops.run_metrics GROUP BY realm_id, entity ORDER BY realm_id, entity;

-- name: runs_by_status
SELECT realm_id, entity, mode, status, count(*) AS runs
  FROM ops.runs GROUP BY realm_id, entity, mode, status ORDER BY realm_id, entity, mode, status;

-- name: chunks_by_status
SELECT realm_id, entity, status, count(*) AS chunks
  FROM ops.chunks WHERE status <> 'superseded' GROUP BY realm_id, entity, status ORDER BY realm_id, entity, status;

-- name: quarantine_by_entity
SELECT realm_id, entity, count(*) AS records
  FROM ops.quarantine WHERE resolved_at IS NULL GROUP BY realm_id, entity ORDER BY realm_id, entity;

-- name: latest_checks
SELECT realm_id, entity, name AS check, severity FROM ops.latest_validations ORDER BY realm_id, entity, name;

-- name: raw_schemas
SELECT realm_id, raw_schema FROM ops.company;

-- name: usage_this_month
SELECT realm_id, requests FROM ops.usage WHERE month = date_trunc('month', now() AT TIME ZONE 'UTC')::date ORDER BY realm_id;
