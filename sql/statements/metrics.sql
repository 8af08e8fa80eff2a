-- name: metrics_of_newest_runs
-- The newest run of each entity that read, for gauges of how things stand.
SELECT DISTINCT ON (entity) * FROM ops.run_metrics WHERE mode <> 'verify' ORDER BY entity, run_id DESC;

-- name: metrics_of_all_runs
-- Sums over all runs, for counters that only grow.
SELECT entity, count(*) AS runs, sum(pages)::bigint AS pages, sum(requests)::bigint AS requests,
       sum(retries)::bigint AS retries, sum(throttled)::bigint AS throttled, sum(rows_read)::bigint AS rows_read,
       sum(rows_inserted)::bigint AS rows_inserted, sum(rows_updated)::bigint AS rows_updated,
       sum(rows_unchanged)::bigint AS rows_unchanged, sum(rows_quarantined)::bigint AS rows_quarantined,
       sum(bytes_read)::bigint AS bytes_read, sum(wait_seconds) AS wait, sum(fetch_seconds) AS fetch,
       sum(split_seconds) AS split, sum(copy_seconds) AS copy, sum(merge_seconds) AS merge
  FROM ops.run_metrics GROUP BY entity ORDER BY entity;

-- name: runs_by_status
SELECT entity, mode, status, count(*) AS runs FROM ops.runs GROUP BY entity, mode, status ORDER BY entity, mode, status;

-- name: chunks_by_status
SELECT entity, status, count(*) AS chunks FROM ops.chunks WHERE status <> 'superseded' GROUP BY entity, status ORDER BY entity, status;

-- name: standing_quarantine_by_entity
SELECT entity, count(*) AS records FROM ops.quarantine WHERE resolved_at IS NULL GROUP BY entity ORDER BY entity;

-- name: latest_checks
SELECT entity, name, severity, message, advice, run_id, checked_at FROM ops.latest_validations ORDER BY entity, name;

-- name: usage_this_month
SELECT realm_id, requests FROM ops.usage WHERE month = date_trunc('month', now() AT TIME ZONE 'UTC')::date ORDER BY realm_id;
