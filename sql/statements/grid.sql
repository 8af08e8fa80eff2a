-- name: grid_cell
-- What a run's windows came to: rows, requests, how long the whole took, and the sums of its workers' seconds.
SELECT count(DISTINCT a.chunk_id) AS chunks, coalesce(sum(a.rows_read), 0)::bigint AS rows,
       coalesce(sum(a.requests), 0)::bigint AS requests, coalesce(sum(a.throttled), 0)::bigint AS throttled,
       coalesce(extract(epoch FROM max(a.finished_at) - min(a.started_at)), 0)::float8 AS seconds,
       coalesce(sum(extract(epoch FROM a.finished_at - a.started_at)), 0)::float8 AS worked,
       coalesce(sum(a.wait_seconds), 0) AS wait, coalesce(sum(a.fetch_seconds), 0) AS fetch,
       coalesce(sum(a.split_seconds), 0) AS split, coalesce(sum(a.copy_seconds), 0) AS copy,
       coalesce(sum(a.merge_seconds), 0) AS merge
  FROM ops.attempts a WHERE a.run_id = $1;
