-- What "complete" means, here and nowhere else. A run is done when this names nothing:
--
--   unread     each stretch of its range, up to the settling time before as_of (TxnDate: all of it), lies in windows
--              that are done;
--   edits      edits of the range's records between the moment each window was planned and as_of are in raw: by the
--              catch-up of an earlier run (edits_known_until), or by this run's own. A LastUpdatedTime in the past gets
--              no new rows, so there one catch-up after the reading is enough for good;
--   deletions  likewise, for deletions;
--   checks     the run's checks were made, and none of them ends as an error.
--
-- Every way of reading (run, resume, retry, reprocess, repair, quarantine retry) plans from this and ends by it.
CREATE FUNCTION ops.owed(this_run bigint) RETURNS TABLE (what text, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH run AS (
        SELECT r.*, CASE WHEN r.filter_field = 'txn_date' THEN r.range_end
                         ELSE least(r.range_end, r.as_of - ops.settling_time()) END AS due
          FROM ops.runs r WHERE r.run_id = this_run
    ), windows AS (
        SELECT c.* FROM ops.chunks c JOIN run ON (c.realm_id, c.entity, c.filter_field) = (run.realm_id, run.entity, run.filter_field)
         WHERE c.kind = 'window' AND c.status = 'done' AND c.window_start < run.range_end AND c.window_end > run.range_start
    ), unread AS (
        SELECT CASE WHEN run.range_start < run.due
                    THEN tstzmultirange(tstzrange(run.range_start, run.due))
                         - coalesce((SELECT range_agg(tstzrange(w.window_start, w.window_end)) FROM windows w), '{}')
                    ELSE '{}' END AS stretches
          FROM run
    )
    SELECT 'unread', format('%s from %s to %s', CASE WHEN run.as_of IS NULL THEN 'the range was never planned,' ELSE 'not read:' END,
                            to_char(lower(s) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), to_char(upper(s) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'))
      FROM run, unread, unnest(CASE WHEN run.as_of IS NULL THEN tstzmultirange(tstzrange(run.range_start, run.range_end)) ELSE unread.stretches END) s
    UNION ALL
    SELECT 'edits', format('edits since %s are not caught up with', to_char(min(coalesce(w.edits_known_until, w.as_of)) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'))
      FROM windows w, run
     WHERE coalesce(w.edits_known_until, w.as_of) < coalesce(run.edits_since, 'infinity')
       AND (w.edits_known_until IS NULL OR (w.filter_field <> 'last_updated' AND w.edits_known_until < run.as_of))
    HAVING count(*) > 0
    UNION ALL
    SELECT 'edits', 'what was edited while the range was read is not caught up with'
      FROM run
     WHERE EXISTS (SELECT FROM ops.run_chunks x JOIN ops.chunks c USING (chunk_id)
                    WHERE x.run_id = run.run_id AND c.kind = 'catch_up' AND c.status <> 'done')
    UNION ALL
    SELECT 'deletions', format('deletions are unknown from %s to %s',
                               to_char(min(coalesce(w.deletions_known_until, w.as_of)) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                               to_char(min(run.as_of) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'))
      FROM windows w, run
     WHERE coalesce(w.deletions_known_until, w.as_of) < coalesce(run.deletions_since, 'infinity')
       AND coalesce(w.deletions_known_until, '-infinity') < run.as_of
    HAVING count(*) > 0
    UNION ALL
    SELECT 'checks', CASE WHEN v.name IS NULL THEN 'the checks were not made' ELSE format('%s: %s', v.name, v.message) END
      FROM run LEFT JOIN LATERAL (
           SELECT DISTINCT ON (x.name) x.name, x.severity, x.message FROM ops.validations x
            WHERE x.run_id = run.run_id ORDER BY x.name, x.validation_id DESC) v ON true
     WHERE v.severity IS NULL OR v.severity = 'error';
$$;
COMMENT ON FUNCTION ops.owed(bigint) IS 'What is missing for a run to be done: unread stretches, edits, deletions, checks. No row: it is complete.';

-- The read model: what runs and chunks came to. Totals are summed here and nowhere else.

CREATE VIEW ops.chunk_metrics AS
SELECT r.run_id, r.realm_id, r.entity, r.filter_field, c.chunk_id, c.kind, c.window_start, c.window_end, c.status,
       -- Another plan has taken over a superseded chunk's window: it is done where that one has been read.
       c.status = 'done' OR (c.status = 'superseded' AND tstzmultirange(tstzrange(c.window_start, c.window_end)) <@ (
            SELECT coalesce(range_agg(tstzrange(d.window_start, d.window_end)), '{}')
              FROM ops.chunks d
             WHERE d.realm_id = c.realm_id AND d.entity = c.entity AND d.filter_field = c.filter_field
               AND d.kind = 'window' AND d.status = 'done'
               AND d.window_start < c.window_end AND d.window_end > c.window_start)) AS done,
       count(a.*)::int AS attempts, coalesce(sum(a.pages), 0)::bigint AS pages,
       coalesce(sum(a.requests), 0)::bigint AS requests, coalesce(sum(a.retries), 0)::bigint AS retries,
       coalesce(sum(a.throttled), 0)::bigint AS throttled, c.expected_rows,
       coalesce(sum(a.rows_read), 0)::bigint AS rows_read, coalesce(sum(a.rows_inserted), 0)::bigint AS rows_inserted,
       coalesce(sum(a.rows_updated), 0)::bigint AS rows_updated,
       coalesce(sum(a.rows_unchanged), 0)::bigint AS rows_unchanged,
       coalesce(sum(a.rows_quarantined), 0)::bigint AS rows_quarantined,
       coalesce(sum(a.bytes_read), 0)::bigint AS bytes_read,
       coalesce(sum(a.wait_seconds), 0) AS wait_seconds, coalesce(sum(a.fetch_seconds), 0) AS fetch_seconds,
       coalesce(sum(a.split_seconds), 0) AS split_seconds, coalesce(sum(a.copy_seconds), 0) AS copy_seconds,
       coalesce(sum(a.merge_seconds), 0) AS merge_seconds,
       coalesce(sum(a.overlapped_seconds), 0) AS overlapped_seconds,
       coalesce(sum(extract(epoch FROM coalesce(a.finished_at, r.finished_at, clock_timestamp()) - a.started_at)), 0)::float8 AS seconds,
       min(a.started_at) AS started_at, max(a.finished_at) AS finished_at, c.error,
       (array_agg(a.error ORDER BY a.attempt DESC) FILTER (WHERE a.error IS NOT NULL))[1] AS last_error, c.intuit_tid
  FROM ops.run_chunks k
  JOIN ops.runs r USING (run_id)
  JOIN ops.chunks c USING (chunk_id)
  LEFT JOIN ops.attempts a ON a.run_id = k.run_id AND a.chunk_id = k.chunk_id
 GROUP BY r.run_id, c.chunk_id;
COMMENT ON VIEW   ops.chunk_metrics IS 'One line for each chunk of each run: what the run did in it, all attempts together, and how the chunk stands now.';
COMMENT ON COLUMN ops.chunk_metrics.done       IS 'Whether its window is read: the chunk is done, or done chunks cover the window of a superseded one.';
COMMENT ON COLUMN ops.chunk_metrics.attempts   IS 'How often the run began the chunk.';
COMMENT ON COLUMN ops.chunk_metrics.seconds    IS 'The attempts'' own time, all together; one that was killed counts until its run ended.';
COMMENT ON COLUMN ops.chunk_metrics.error      IS 'Why the chunk failed, while it stands as failed.';
COMMENT ON COLUMN ops.chunk_metrics.last_error IS 'Why the run''s last failed attempt failed, in one line.';
COMMENT ON COLUMN ops.chunk_metrics.intuit_tid IS 'Intuit''s transaction id of the failure, for their support.';

CREATE VIEW ops.run_metrics AS
SELECT r.run_id, r.realm_id, o.raw_schema, o.environment, r.entity, r.filter_field, r.mode, r.status, r.range_start,
       r.range_end, r.chunk, r.concurrency, r.as_of, r.started_at, r.finished_at,
       extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::float8 AS seconds,
       coalesce(a.planned, 0) AS chunks_planned, coalesce(a.done, 0) AS chunks_done,
       coalesce(a.failed, 0) AS chunks_failed, coalesce(a.worked_on, 0) AS chunks_worked_on,
       coalesce(a.pages, 0) AS pages, r.requests_sent + coalesce(a.requests, 0) AS requests,
       r.requests_retried + coalesce(a.retries, 0) AS retries, r.requests_throttled + coalesce(a.throttled, 0) AS throttled,
       coalesce(a.requests, 0) AS chunk_requests, r.source_count,
       coalesce(a.rows_read, 0) AS rows_read, coalesce(a.rows_inserted, 0) AS rows_inserted,
       coalesce(a.rows_updated, 0) AS rows_updated, coalesce(a.rows_unchanged, 0) AS rows_unchanged,
       coalesce(a.rows_quarantined, 0) AS rows_quarantined, coalesce(a.bytes_read, 0) AS bytes_read,
       coalesce(a.wait_seconds, 0) AS wait_seconds, coalesce(a.fetch_seconds, 0) AS fetch_seconds,
       coalesce(a.split_seconds, 0) AS split_seconds, coalesce(a.copy_seconds, 0) AS copy_seconds,
       coalesce(a.merge_seconds, 0) AS merge_seconds, coalesce(a.overlapped_seconds, 0) AS overlapped_seconds,
       coalesce(a.seconds, 0) AS worker_seconds, coalesce(a.extract_seconds, 0) AS extract_seconds,
       coalesce(a.seconds / nullif(a.extract_seconds * r.concurrency, 0), 0) AS busy, v.worst AS worst_check, r.error, r.settings
  FROM ops.runs r
  LEFT JOIN LATERAL (
        SELECT raw_schema, environment FROM ops.company
         WHERE company.realm_id = r.realm_id ORDER BY first_seen_at LIMIT 1) AS o ON true
  LEFT JOIN (
        SELECT run_id, count(*) AS planned, count(*) FILTER (WHERE done) AS done,
               count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE attempts > 0) AS worked_on,
               sum(pages)::bigint AS pages, sum(requests)::bigint AS requests, sum(retries)::bigint AS retries,
               sum(throttled)::bigint AS throttled, sum(rows_read)::bigint AS rows_read,
               sum(rows_inserted)::bigint AS rows_inserted, sum(rows_updated)::bigint AS rows_updated,
               sum(rows_unchanged)::bigint AS rows_unchanged, sum(rows_quarantined)::bigint AS rows_quarantined,
               sum(bytes_read)::bigint AS bytes_read, sum(wait_seconds) AS wait_seconds,
               sum(fetch_seconds) AS fetch_seconds, sum(split_seconds) AS split_seconds, sum(copy_seconds) AS copy_seconds,
               sum(merge_seconds) AS merge_seconds, sum(overlapped_seconds) AS overlapped_seconds, sum(seconds) AS seconds,
               extract(epoch FROM max(finished_at) - min(started_at))::float8 AS extract_seconds
          FROM ops.chunk_metrics GROUP BY run_id) AS a USING (run_id)
  LEFT JOIN LATERAL (
        SELECT (ARRAY['ok', 'notice', 'warning', 'error'])[max(array_position(ARRAY['ok', 'notice', 'warning', 'error'], l.severity))] AS worst
          FROM (SELECT DISTINCT ON (name) severity FROM ops.validations
                 WHERE validations.run_id = r.run_id ORDER BY name, validation_id DESC) AS l) AS v ON true;
COMMENT ON VIEW   ops.run_metrics IS 'One line a run: what was asked, how it ended, chunks, requests, rows, bytes, where the time went, and its gravest check.';
COMMENT ON COLUMN ops.run_metrics.seconds          IS 'Wall time of the run so far.';
COMMENT ON COLUMN ops.run_metrics.chunks_planned   IS 'Chunks that the run set out to do.';
COMMENT ON COLUMN ops.run_metrics.chunks_done      IS 'How many of them are done now.';
COMMENT ON COLUMN ops.run_metrics.chunks_failed    IS 'How many of them have failed.';
COMMENT ON COLUMN ops.run_metrics.chunks_worked_on IS 'How many of them this run began itself; the others were done before it or by another.';
COMMENT ON COLUMN ops.run_metrics.requests         IS 'All requests of the run, those of the plan and the checks, too.';
COMMENT ON COLUMN ops.run_metrics.chunk_requests   IS 'Those of its requests that read chunks; the others counted, asked for deletions or checked.';
COMMENT ON COLUMN ops.run_metrics.worker_seconds   IS 'The time of all attempts together; of several workers it is more than the wall time in seconds.';
COMMENT ON COLUMN ops.run_metrics.extract_seconds  IS 'From the first chunk begun to the last one ended.';
COMMENT ON COLUMN ops.run_metrics.busy             IS 'How busy the workers were: worker_seconds of extract_seconds times concurrency, 1 when each had a chunk from the first to the last moment; more where several processes worked on the run.';
COMMENT ON COLUMN ops.run_metrics.worst_check      IS 'ok, notice, warning or error: the gravest of the run''s checks as they stand last; null before any.';

CREATE VIEW ops.latest_validations AS
SELECT DISTINCT ON (r.realm_id, r.entity, v.name)
       r.realm_id, r.entity, v.name, v.severity, v.message, v.advice, v.run_id, v.checked_at
  FROM ops.validations v JOIN ops.runs r USING (run_id)
 ORDER BY r.realm_id, r.entity, v.name, v.validation_id DESC;
COMMENT ON VIEW ops.latest_validations IS 'The last word of each check for each company and entity: how the data stands now.';

-- A column of a view means what the column of the same name means in the table that it comes from.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT DISTINCT ON (v.relname, a.attname) v.relname AS view_name, a.attname AS column_name, d.description
          FROM pg_class v
          JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
          JOIN unnest(ARRAY['ops.attempts', 'ops.chunks', 'ops.runs', 'ops.validations', 'ops.company']) WITH ORDINALITY AS t (name, place) ON true
          JOIN pg_attribute b ON b.attrelid = t.name::regclass AND b.attname = a.attname
          JOIN pg_description d ON d.objoid = t.name::regclass AND d.objsubid = b.attnum
         WHERE v.relnamespace = 'ops'::regnamespace AND v.relkind = 'v' AND col_description(v.oid, a.attnum) IS NULL
         ORDER BY v.relname, a.attname, t.place
    LOOP
        EXECUTE format('COMMENT ON COLUMN ops.%I.%I IS %L', found.view_name, found.column_name, found.description);
    END LOOP;
END $$;
