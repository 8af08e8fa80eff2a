-- name: insert_run
-- A new run; its number comes back. This session holds its lock: as long as it does, the run is alive.
WITH run AS (
    INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency, settings, backend_pid)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, pg_backend_pid())
    RETURNING run_id
)
SELECT run_id, pg_advisory_lock_shared(hashtext('ops.runs'), run_id::int) FROM run;

-- name: enter_run
-- A process begins a stage of the run, and holds its lock.
UPDATE ops.runs r SET backend_pid = pg_backend_pid()
  FROM (SELECT pg_advisory_lock_shared(hashtext('ops.runs'), $1::bigint::int)) AS lock
 WHERE r.run_id = $1 AND r.finished_at IS NULL;

-- name: leave_run
-- A stage has ended, and the next one may be a process of its own.
UPDATE ops.runs SET backend_pid = NULL WHERE run_id = $1 AND backend_pid = pg_backend_pid();

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
  FROM (SELECT string_agg(detail, '. ') AS details
          FROM (SELECT left(detail, 300) AS detail FROM ops.owed($1) LIMIT 5) AS first) AS o
 WHERE r.run_id = $1 AND r.finished_at IS NULL;

-- name: select_run
SELECT * FROM ops.runs WHERE run_id = $1;

-- name: record_plan
UPDATE ops.runs SET status = CASE WHEN finished_at IS NULL THEN 'running' ELSE status END, as_of = $2, source_count = $3
 WHERE run_id = $1;

-- name: add_run_requests
-- Requests are counted as they are sent, so that a killed run's are not forgotten.
UPDATE ops.runs
   SET requests_sent = requests_sent + $2, requests_retried = requests_retried + $3,
       requests_throttled = requests_throttled + $4
 WHERE run_id = $1;

-- name: finish_run
UPDATE ops.runs SET status = $2, error = $3, finished_at = clock_timestamp() WHERE run_id = $1 AND finished_at IS NULL;

-- name: claim_schema
-- Says which company fills a raw schema; the first run decides. A company fills one schema, a schema has one company.
INSERT INTO ops.company (raw_schema, realm_id, environment) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: companies
SELECT raw_schema, realm_id, environment FROM ops.company WHERE raw_schema = $1 OR realm_id = $2;

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

-- name: include_of_run
-- Runs of before there was the setting sent none.
SELECT coalesce(settings ->> 'include', 'none') FROM ops.runs WHERE run_id = $1;

-- name: include_of_entity
-- What the entity's rows are read with: all by one setting, the newest run's.
SELECT coalesce(settings ->> 'include', 'none') FROM ops.runs WHERE realm_id = $1 AND entity = $2 ORDER BY run_id DESC LIMIT 1;

-- name: open_run
SELECT run_id FROM ops.runs r WHERE realm_id = $1 AND entity = $2 AND finished_at IS NULL AND NOT ops.is_gone(r) LIMIT 1;

-- name: later_run
-- A run of the same range that was begun after this one and is still open. A verify run has no chunks to go on with.
SELECT later.run_id
  FROM ops.runs this JOIN ops.runs later USING (realm_id, entity, filter_field, range_start, range_end)
 WHERE this.run_id = $1 AND later.run_id > this.run_id AND later.finished_at IS NULL AND later.mode <> 'verify'
   AND NOT ops.is_gone(later)
 ORDER BY later.run_id LIMIT 1;

-- name: run_metrics
SELECT * FROM ops.run_metrics WHERE run_id = $1;

-- name: recent_runs
-- The newest runs with what is left of each; of these entities and schemas, or of all.
SELECT m.*, m.chunks_planned AS chunks, m.chunks_done AS done, m.chunks_failed AS failed, m.requests AS requests_sent,
       (SELECT coalesce(sum(u.requests), 0)::bigint FROM ops.usage u
         WHERE u.realm_id = m.realm_id AND u.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date) AS requests_this_month,
       (SELECT ops.is_gone(r) FROM ops.runs r WHERE r.run_id = m.run_id) AS is_gone,
       EXISTS (SELECT FROM ops.runs later
                WHERE (later.realm_id, later.entity, later.filter_field) = (m.realm_id, m.entity, m.filter_field)
                  AND later.run_id > m.run_id AND later.status = 'done' AND later.mode <> 'verify'
                  AND later.range_start <= m.range_start AND later.range_end >= m.range_end) AS caught_up
  FROM ops.run_metrics m
 WHERE ($2::text[] IS NULL OR m.entity = ANY ($2)) AND ($3::text[] IS NULL OR m.raw_schema = ANY ($3))
 ORDER BY run_id DESC
 LIMIT $1;

-- name: last_runs
-- Of each company the newest run and how it stands, and how many entities' newest runs have ended otherwise than done.
SELECT DISTINCT ON (m.realm_id) m.realm_id, m.run_id, m.entity, m.mode, m.started_at, m.finished_at,
       CASE WHEN m.finished_at IS NULL AND ops.is_gone(r) THEN 'stopped' ELSE m.status END AS status,
       (SELECT count(*) FROM (SELECT DISTINCT ON (x.entity) x.status FROM ops.runs x WHERE x.realm_id = m.realm_id
                               ORDER BY x.entity, x.run_id DESC) AS newest
         WHERE newest.status NOT IN ('done', 'planning', 'running')) AS entities_not_done
  FROM ops.run_metrics m JOIN ops.runs r USING (run_id)
 WHERE m.realm_id = ANY ($1)
 ORDER BY m.realm_id, m.run_id DESC;
