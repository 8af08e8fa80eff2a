-- What `warehouse prune` removes of runs that ended before a moment. Runs, chunks, what a chunk's windows are known
-- until, checks, quarantine and every attempt that a chunk's state rests on stay: completeness needs them.

-- name: prune_events
DELETE FROM ops.events e USING ops.runs r
 WHERE r.run_id = e.run_id AND r.finished_at < $1;

-- name: prune_attempts
-- Tries that came to nothing, at chunks that a later try has done.
DELETE FROM ops.attempts a USING ops.runs r
 WHERE r.run_id = a.run_id AND r.finished_at < $1 AND a.outcome IS DISTINCT FROM 'done'
   AND EXISTS (SELECT FROM ops.attempts d
                WHERE d.chunk_id = a.chunk_id AND d.attempt > a.attempt AND d.outcome = 'done');

-- name: prune_daily_volume
DELETE FROM ops.daily_volume v USING ops.runs r
 WHERE r.run_id = v.run_id AND r.finished_at < $1;

-- name: moment_before
SELECT now() - $1::text::interval;
