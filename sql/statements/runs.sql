-- name: insert_run
-- A new run; its number comes back.
INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency, settings,
                      backend_pid, backend_start)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, a.pid, a.backend_start FROM pg_stat_get_activity(pg_backend_pid()) a
RETURNING run_id;

-- name: enter_run
-- A process begins a stage of the run: as long as its session lives, so does the run.
UPDATE ops.runs r SET backend_pid = a.pid, backend_start = a.backend_start
  FROM pg_stat_get_activity(pg_backend_pid()) a WHERE r.run_id = $1 AND r.finished_at IS NULL;

-- name: leave_run
-- A stage has ended, and the next one may be a process of its own.
UPDATE ops.runs SET backend_pid = NULL, backend_start = NULL WHERE run_id = $1 AND backend_pid = pg_backend_pid();

-- name: close_gone_runs
-- Runs of a company that nobody works on any more. What they left stands in their windows.
UPDATE ops.runs r SET status = 'incomplete', finished_at = clock_timestamp(), error = coalesce(r.error, $2)
 WHERE r.realm_id = $1 AND r.finished_at IS NULL AND ops.is_gone(r)
RETURNING r.run_id;

-- name: owed
SELECT what, detail FROM ops.owed($1);

-- name: complete_run
-- Done when nothing is owed, and otherwise incomplete, with what is. The only statement that calls a backfill done.
UPDATE ops.runs r
   SET status = CASE WHEN o.details IS NULL THEN 'done' ELSE 'incomplete' END, error = o.details,
       finished_at = clock_timestamp()
  FROM (SELECT string_agg(detail, '; ') AS details
          FROM (SELECT left(detail, 300) AS detail FROM ops.owed($1) LIMIT 5) AS first) AS o
 WHERE r.run_id = $1 AND r.finished_at IS NULL;

-- name: select_run
SELECT * FROM ops.runs WHERE run_id = $1;

-- name: record_plan
UPDATE ops.runs SET status = 'running', as_of = $2, source_count = $3 WHERE run_id = $1;

-- name: add_run_requests
-- Requests are counted as they are sent, so that a killed run's are not forgotten.
UPDATE ops.runs
   SET requests_sent = requests_sent + $2, requests_retried = requests_retried + $3,
       requests_throttled = requests_throttled + $4
 WHERE run_id = $1;

-- name: finish_run
UPDATE ops.runs SET status = $2, error = $3, finished_at = clock_timestamp() WHERE run_id = $1;

-- name: claim_schema
-- Says which company fills a raw schema; the first run decides. A company fills one schema, a schema has one company.
INSERT INTO ops.company (raw_schema, realm_id, environment) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: companies
SELECT raw_schema, realm_id, environment FROM ops.company WHERE raw_schema = $1 OR realm_id = $2;

-- name: run_totals
-- What a run's attempts did, committed page by page.
SELECT coalesce(sum(rows_read), 0)::bigint AS read, coalesce(sum(rows_inserted), 0)::bigint AS inserted,
       coalesce(sum(rows_updated), 0)::bigint AS updated, coalesce(sum(rows_unchanged), 0)::bigint AS unchanged,
       coalesce(sum(rows_quarantined), 0)::bigint AS quarantined, coalesce(sum(pages), 0)::bigint AS pages,
       coalesce(sum(bytes_read), 0)::bigint AS bytes, coalesce(sum(requests), 0)::bigint AS requests,
       coalesce(sum(retries), 0)::bigint AS retries, coalesce(sum(throttled), 0)::bigint AS throttled
  FROM ops.attempts WHERE run_id = $1;

-- name: run_chunk_counts
-- planned: all that the run set out to do; done and failed as they stand now.
SELECT count(*) AS planned, count(*) FILTER (WHERE status IN ('done', 'superseded')) AS done,
       count(*) FILTER (WHERE status = 'failed') AS failed
  FROM ops.run_chunks JOIN ops.chunks USING (chunk_id) WHERE run_id = $1;

-- name: run_chunk_table
-- One line a chunk of a run, in the order of time, for reports.
SELECT c.chunk_id, c.kind, c.window_start, c.window_end, c.status, c.expected_rows, c.error,
       count(a.*)::int AS attempts,
       coalesce(sum(a.pages), 0)::bigint AS pages, coalesce(sum(a.requests), 0)::bigint AS requests,
       coalesce(sum(a.retries), 0)::bigint AS retries,
       coalesce(sum(a.rows_read), 0)::bigint AS rows_read,
       coalesce(sum(a.rows_inserted), 0)::bigint AS rows_inserted,
       coalesce(sum(a.rows_updated), 0)::bigint AS rows_updated,
       coalesce(sum(a.rows_unchanged), 0)::bigint AS rows_unchanged,
       coalesce(sum(a.rows_quarantined), 0)::bigint AS rows_quarantined,
       coalesce(sum(a.bytes_read), 0)::bigint AS bytes_read,
       coalesce(sum(a.wait_seconds), 0) AS wait_seconds, coalesce(sum(a.fetch_seconds), 0) AS fetch_seconds,
       coalesce(sum(a.split_seconds), 0) AS split_seconds, coalesce(sum(a.copy_seconds), 0) AS copy_seconds,
       coalesce(sum(a.merge_seconds), 0) AS merge_seconds,
       coalesce(sum(extract(epoch FROM a.finished_at - a.started_at)), 0)::double precision AS seconds
  FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
  LEFT JOIN ops.attempts a ON a.chunk_id = c.chunk_id AND a.run_id = r.run_id
 WHERE r.run_id = $1
 GROUP BY c.chunk_id
 ORDER BY c.kind = 'catch_up', c.window_start;

-- name: later_run
-- A run of the same range that was begun after this one and is still open.
SELECT later.run_id
  FROM ops.runs this JOIN ops.runs later USING (realm_id, entity, filter_field, range_start, range_end)
 WHERE this.run_id = $1 AND later.run_id > this.run_id AND later.finished_at IS NULL AND later.mode <> 'verify'
   AND NOT ops.is_gone(later)
 ORDER BY later.run_id LIMIT 1;

-- name: recent_runs
-- The newest runs with what is left of each.
SELECT r.run_id, r.realm_id,
       (SELECT raw_schema FROM ops.company c WHERE c.realm_id = r.realm_id ORDER BY first_seen_at LIMIT 1) AS raw_schema,
       (SELECT coalesce(sum(requests), 0)::bigint FROM ops.usage u
         WHERE u.realm_id = r.realm_id AND u.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date) AS requests_this_month,
       r.entity, r.mode, r.filter_field, r.range_start, r.range_end, r.status, r.started_at,
       r.finished_at, r.error,
       r.requests_sent + (SELECT coalesce(sum(requests), 0)::bigint FROM ops.attempts a WHERE a.run_id = r.run_id) AS requests_sent,
       (SELECT count(*) FROM ops.run_chunks x WHERE x.run_id = r.run_id) AS chunks,
       (SELECT count(*) FROM ops.run_chunks x JOIN ops.chunks c USING (chunk_id)
         WHERE x.run_id = r.run_id AND c.status IN ('done', 'superseded')) AS done,
       (SELECT count(*) FROM ops.run_chunks x JOIN ops.chunks c USING (chunk_id)
         WHERE x.run_id = r.run_id AND c.status = 'failed') AS failed,
       (SELECT coalesce(sum(rows_read), 0)::bigint FROM ops.attempts a WHERE a.run_id = r.run_id) AS rows_read
  FROM ops.runs r
 ORDER BY r.run_id DESC
 LIMIT $1;
