-- name: insert_events
INSERT INTO ops.events (run_id, happened_at, code, name, phase, level, message, fields)
SELECT $1, e.happened_at, e.code, e.name, e.phase, e.level, e.message, e.fields::jsonb
  FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
       AS e (happened_at, code, name, phase, level, message, fields);

-- name: events_of
SELECT happened_at, code, name, phase, level, message, fields ->> 'intuit_tid' AS intuit_tid
  FROM ops.events WHERE run_id = $1 ORDER BY event_id LIMIT 1000;

-- name: time_split
-- What a run's workers stood still for, in seconds, their time in all, and what went on beside a load.
SELECT coalesce(sum(wait_seconds), 0) AS wait, coalesce(sum(fetch_seconds), 0) AS fetch,
       coalesce(sum(split_seconds), 0) AS split, coalesce(sum(copy_seconds), 0) AS copy,
       coalesce(sum(merge_seconds), 0) AS merge, coalesce(sum(overlapped_seconds), 0) AS overlapped,
       coalesce(sum(extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)), 0)::double precision AS attempts
  FROM ops.attempts WHERE run_id = $1;

-- name: first_chunk_left
-- The resume point: the earliest chunk of a run that is not done.
SELECT c.chunk_id, c.kind, c.window_start, c.window_end, c.status, c.error
  FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
 WHERE r.run_id = $1 AND c.status NOT IN ('done', 'superseded')
 ORDER BY c.kind = 'catch_up', c.window_start LIMIT 1;

-- name: environment_of
SELECT environment FROM ops.company WHERE realm_id = $1 ORDER BY first_seen_at LIMIT 1;

-- name: newest_run
SELECT max(run_id) FROM ops.runs WHERE realm_id = $1;

-- name: requests_in_runs_month
-- What the company has sent in the month (UTC) in which a run began, by whatever run.
SELECT coalesce(sum(u.requests), 0)::bigint
  FROM ops.runs r JOIN ops.usage u ON u.realm_id = r.realm_id
   AND u.month = date_trunc('month', r.started_at AT TIME ZONE 'UTC')::date
 WHERE r.run_id = $1;
