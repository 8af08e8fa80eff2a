-- What a person would ask of ops, as views.

CREATE VIEW ops.chunk_metrics AS
SELECT a.run_id, c.chunk_id, c.entity, c.filter_field, c.kind, c.window_start, c.window_end, c.status,
       count(*)::int AS attempts, sum(a.pages)::bigint AS pages, sum(a.requests)::bigint AS requests,
       sum(a.retries)::bigint AS retries, sum(a.throttled)::bigint AS throttled,
       c.expected_rows, sum(a.rows_read)::bigint AS rows_read, sum(a.rows_inserted)::bigint AS rows_inserted,
       sum(a.rows_updated)::bigint AS rows_updated, sum(a.rows_unchanged)::bigint AS rows_unchanged,
       sum(a.rows_quarantined)::bigint AS rows_quarantined, sum(a.bytes_read)::bigint AS bytes_read,
       round(sum(a.wait_seconds)::numeric, 3) AS wait_seconds, round(sum(a.fetch_seconds)::numeric, 3) AS fetch_seconds,
       round(sum(a.split_seconds)::numeric, 3) AS split_seconds, round(sum(a.copy_seconds)::numeric, 3) AS copy_seconds,
       round(sum(a.merge_seconds)::numeric, 3) AS merge_seconds,
       round(sum(extract(epoch FROM coalesce(a.finished_at, clock_timestamp()) - a.started_at))::numeric, 3) AS seconds,
       min(a.started_at) AS started_at, max(a.finished_at) AS finished_at,
       (array_agg(a.error ORDER BY a.attempt DESC) FILTER (WHERE a.error IS NOT NULL))[1] AS last_error, c.intuit_tid
  FROM ops.attempts a JOIN ops.chunks c USING (chunk_id)
 GROUP BY a.run_id, c.chunk_id;
COMMENT ON VIEW   ops.chunk_metrics IS 'What each run did in each chunk: dates, pages, requests, rows, bytes, and the seconds of each phase, all attempts together.';
COMMENT ON COLUMN ops.chunk_metrics.seconds    IS 'The attempts'' own time, all together; one that was killed counts until now.';
COMMENT ON COLUMN ops.chunk_metrics.last_error IS 'Why the last failed attempt failed, in one line.';
COMMENT ON COLUMN ops.chunk_metrics.intuit_tid IS 'Intuit''s transaction id of the failure, for their support.';

CREATE VIEW ops.run_metrics AS
SELECT r.run_id, r.entity, r.filter_field, r.mode, r.status, r.range_start, r.range_end, r.chunk, r.concurrency,
       r.started_at, r.finished_at,
       round(extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::numeric, 3) AS seconds,
       c.planned AS chunks_planned, c.done AS chunks_done, c.failed AS chunks_failed,
       coalesce(a.pages, 0) AS pages, r.requests_sent + coalesce(a.requests, 0) AS requests,
       r.requests_retried + coalesce(a.retries, 0) AS retries, r.requests_throttled + coalesce(a.throttled, 0) AS throttled,
       r.source_count, coalesce(a.rows_read, 0) AS rows_read, coalesce(a.rows_inserted, 0) AS rows_inserted,
       coalesce(a.rows_updated, 0) AS rows_updated, coalesce(a.rows_unchanged, 0) AS rows_unchanged,
       coalesce(a.rows_quarantined, 0) AS rows_quarantined, coalesce(a.bytes_read, 0) AS bytes_read,
       coalesce(a.wait_seconds, 0) AS wait_seconds, coalesce(a.fetch_seconds, 0) AS fetch_seconds,
       coalesce(a.split_seconds, 0) AS split_seconds, coalesce(a.copy_seconds, 0) AS copy_seconds,
       coalesce(a.merge_seconds, 0) AS merge_seconds, coalesce(a.seconds, 0) AS worker_seconds,
       v.worst AS worst_check, r.error
  FROM ops.runs r
  CROSS JOIN LATERAL (
        SELECT count(*) AS planned, count(*) FILTER (WHERE x.status IN ('done', 'superseded')) AS done,
               count(*) FILTER (WHERE x.status = 'failed') AS failed
          FROM ops.run_chunks k JOIN ops.chunks x USING (chunk_id) WHERE k.run_id = r.run_id) AS c
  LEFT JOIN (
        SELECT run_id, sum(pages)::bigint AS pages, sum(requests)::bigint AS requests, sum(retries)::bigint AS retries,
               sum(throttled)::bigint AS throttled, sum(rows_read)::bigint AS rows_read,
               sum(rows_inserted)::bigint AS rows_inserted, sum(rows_updated)::bigint AS rows_updated,
               sum(rows_unchanged)::bigint AS rows_unchanged, sum(rows_quarantined)::bigint AS rows_quarantined,
               sum(bytes_read)::bigint AS bytes_read, sum(wait_seconds) AS wait_seconds,
               sum(fetch_seconds) AS fetch_seconds, sum(split_seconds) AS split_seconds, sum(copy_seconds) AS copy_seconds,
               sum(merge_seconds) AS merge_seconds, sum(seconds) AS seconds
          FROM ops.chunk_metrics GROUP BY run_id) AS a USING (run_id)
  LEFT JOIN LATERAL (
        SELECT (ARRAY['ok', 'notice', 'warning', 'error'])[max(array_position(ARRAY['ok', 'notice', 'warning', 'error'], l.severity))] AS worst
          FROM (SELECT DISTINCT ON (name) severity FROM ops.validations
                 WHERE validations.run_id = r.run_id ORDER BY name, validation_id DESC) AS l) AS v ON true;
COMMENT ON VIEW   ops.run_metrics IS 'One line a run: what was asked, how it ended, chunks, requests, rows, bytes, where the time went, and its gravest check.';
COMMENT ON COLUMN ops.run_metrics.worker_seconds IS 'The time of all attempts together; of several workers it is more than the wall time in seconds.';
COMMENT ON COLUMN ops.run_metrics.worst_check    IS 'ok, notice, warning or error: the gravest of the run''s checks as they stand last; null before any.';
COMMENT ON COLUMN ops.run_metrics.requests       IS 'All requests of the run, those of the plan and the checks, too.';

CREATE VIEW ops.latest_validations AS
SELECT DISTINCT ON (r.entity, v.name) r.entity, v.name, v.severity, v.message, v.advice, v.run_id, v.checked_at
  FROM ops.validations v JOIN ops.runs r USING (run_id)
 ORDER BY r.entity, v.name, v.validation_id DESC;
COMMENT ON VIEW ops.latest_validations IS 'The last word of each check for each entity: how the data stands now.';

CREATE VIEW ops.failures AS
SELECT a.run_id, a.chunk_id, c.entity, c.window_start, c.window_end, a.attempt, a.error, c.intuit_tid, c.status AS chunk_status,
       a.started_at, a.finished_at
  FROM ops.attempts a JOIN ops.chunks c USING (chunk_id)
 WHERE a.outcome = 'failed' OR a.error IS NOT NULL;
COMMENT ON VIEW   ops.failures IS 'Attempts that failed, with Intuit''s transaction id of the chunk''s last failure.';
COMMENT ON COLUMN ops.failures.chunk_status IS 'How the chunk stands now: done when a later attempt read it.';

CREATE VIEW ops.volume_by_chunk AS
SELECT c.entity, c.filter_field, c.window_start, c.window_end, c.chunk_id, c.status, c.expected_rows,
       m.rows_read, m.rows_inserted, m.rows_updated, m.rows_unchanged, m.rows_quarantined, m.run_id
  FROM ops.chunks c
  LEFT JOIN LATERAL (SELECT * FROM ops.chunk_metrics x WHERE x.chunk_id = c.chunk_id ORDER BY x.run_id DESC LIMIT 1) AS m ON true
 WHERE c.status <> 'superseded';
COMMENT ON VIEW   ops.volume_by_chunk IS 'The volume of each chunk as it was last read, beside QuickBooks'' own count of it.';
COMMENT ON COLUMN ops.volume_by_chunk.expected_rows IS 'COUNT(*) of the window when it was planned; null where it was not asked.';
COMMENT ON COLUMN ops.volume_by_chunk.run_id        IS 'The run that read it last.';

CREATE VIEW ops.progress AS
SELECT r.run_id, r.entity, r.status, c.chunks_done, c.chunks_planned, m.rows_read,
       round(m.rows_read / nullif(m.seconds, 0)) AS rows_per_second,
       CASE WHEN r.finished_at IS NULL AND c.done_rows > 0 AND r.source_count > c.done_rows
            THEN make_interval(secs => round(((r.source_count - m.rows_read) * m.seconds / nullif(m.rows_read, 0))::numeric)::double precision)
       END AS time_left
  FROM ops.runs r
  CROSS JOIN LATERAL (
        SELECT count(*) AS chunks_planned, count(*) FILTER (WHERE x.status IN ('done', 'superseded')) AS chunks_done,
               coalesce(sum(x.expected_rows) FILTER (WHERE x.status = 'done'), 0) AS done_rows
          FROM ops.run_chunks k JOIN ops.chunks x USING (chunk_id) WHERE k.run_id = r.run_id) AS c
  CROSS JOIN LATERAL (
        SELECT coalesce(sum(rows_read), 0)::bigint AS rows_read,
               extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at) AS seconds
          FROM ops.attempts a WHERE a.run_id = r.run_id) AS m;
COMMENT ON VIEW   ops.progress IS 'How far each run is: chunks, rows, rate, and the time that is left at that rate.';
COMMENT ON COLUMN ops.progress.time_left IS 'At the rate so far; null when the run has ended or nothing was counted.';

-- A column of a view means what the column of the same name means in the table that it comes from.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT DISTINCT ON (v.relname, a.attname) v.relname AS view_name, a.attname AS column_name, d.description
          FROM pg_class v
          JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
          JOIN unnest(ARRAY['ops.attempts', 'ops.chunks', 'ops.runs', 'ops.validations']) WITH ORDINALITY AS t (name, place) ON true
          JOIN pg_attribute b ON b.attrelid = t.name::regclass AND b.attname = a.attname
          JOIN pg_description d ON d.objoid = t.name::regclass AND d.objsubid = b.attnum
         WHERE v.relnamespace = 'ops'::regnamespace AND v.relkind = 'v' AND col_description(v.oid, a.attnum) IS NULL
         ORDER BY v.relname, a.attname, t.place
    LOOP
        EXECUTE format('COMMENT ON COLUMN ops.%I.%I IS %L', found.view_name, found.column_name, found.description);
    END LOOP;
END $$;

COMMENT ON COLUMN ops.chunk_metrics.attempts         IS 'How often the run began the chunk.';
COMMENT ON COLUMN ops.run_metrics.seconds            IS 'Wall time of the run so far.';
COMMENT ON COLUMN ops.run_metrics.chunks_planned     IS 'Chunks that the run set out to do.';
COMMENT ON COLUMN ops.run_metrics.chunks_done        IS 'How many of them are done now.';
COMMENT ON COLUMN ops.run_metrics.chunks_failed      IS 'How many of them have failed.';
COMMENT ON COLUMN ops.progress.chunks_planned        IS 'Chunks that the run set out to do.';
COMMENT ON COLUMN ops.progress.chunks_done           IS 'How many of them are done now.';
COMMENT ON COLUMN ops.progress.rows_per_second       IS 'Rows read a second of wall time.';
