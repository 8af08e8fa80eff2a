-- name: insert_run
-- A new run; its number comes back.
INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency, settings)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING run_id;

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

-- name: other_schema
-- A schema, other than this one, that holds the company already.
SELECT raw_schema FROM ops.company WHERE realm_id = $1 AND raw_schema <> $2 ORDER BY raw_schema LIMIT 1;

-- name: claim_schema
-- Says which company fills a raw schema; the first run decides.
INSERT INTO ops.company (raw_schema, realm_id, environment) VALUES ($1, $2, $3)
ON CONFLICT (raw_schema) DO UPDATE SET realm_id = ops.company.realm_id
RETURNING realm_id, environment;

-- name: run_totals
-- What a run's attempts did, committed page by page.
SELECT rows_read AS read, rows_inserted AS inserted, rows_updated AS updated, rows_unchanged AS unchanged,
       rows_quarantined AS quarantined, pages, bytes_read AS bytes, chunk_requests AS requests
  FROM ops.run_metrics WHERE run_id = $1;

-- name: run_chunk_counts
-- planned: all that the run set out to do; done and failed as they stand now.
SELECT chunks_planned AS planned, chunks_done AS done, chunks_failed AS failed FROM ops.run_metrics WHERE run_id = $1;

-- name: run_chunk_table
-- One line a chunk of a run, in the order of time, for reports.
SELECT * FROM ops.chunk_metrics WHERE run_id = $1 ORDER BY kind = 'catch_up', window_start;

-- name: later_run
-- A run of the same range that was begun after this one and is still open. A verify run has no chunks to go on with.
SELECT later.run_id
  FROM ops.runs this JOIN ops.runs later USING (realm_id, entity, filter_field, range_start, range_end)
 WHERE this.run_id = $1 AND later.run_id > this.run_id AND later.finished_at IS NULL AND later.mode <> 'verify'
 ORDER BY later.run_id LIMIT 1;

-- name: run_metrics
SELECT * FROM ops.run_metrics WHERE run_id = $1;

-- name: recent_runs
-- The newest runs with what is left of each.
SELECT m.*, m.chunks_planned AS chunks, m.chunks_done AS done, m.chunks_failed AS failed, m.requests AS requests_sent,
       (SELECT coalesce(sum(u.requests), 0)::bigint FROM ops.usage u
         WHERE u.realm_id = m.realm_id AND u.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date) AS requests_this_month
  FROM ops.run_metrics m
 ORDER BY run_id DESC
 LIMIT $1;
