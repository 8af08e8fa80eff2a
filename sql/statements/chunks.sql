-- name: lock_planning
-- One planner at a time for a company's entity; the lock ends with the session or by unlock_planning.
SELECT pg_advisory_lock(hashtext('ops.planning'), hashtext($1 || '/' || $2));

-- name: unlock_planning
SELECT pg_advisory_unlock(hashtext('ops.planning'), hashtext($1 || '/' || $2));

-- name: chunks_in_range
-- The ledger's windows that touch a range. `held` says that a living worker has the chunk now.
SELECT chunk_id, window_start, window_end, status, expected_rows, status = 'running' AND ops.is_held('ops.chunks', chunk_id) AS held
  FROM ops.chunks c
 WHERE realm_id = $1 AND entity = $2 AND filter_field = $3 AND kind = 'window' AND status <> 'superseded'
   AND window_start < $5 AND window_end > $4
 ORDER BY window_start;

-- name: insert_windows
-- A plan's windows, in one statement: starts $4, ends $5, QuickBooks' COUNT(*) of each $6 (null: not asked; 0: done
-- without a read). Idempotent: a window that is in the ledger already is not planned twice. $9 is QuickBooks' clock,
-- since when edits are owed; $10 the moment up to which deletions are known from windows that these replace.
INSERT INTO ops.chunks AS c (realm_id, entity, filter_field, kind, window_start, window_end, expected_rows, range_start, range_end,
                             as_of, deletions_known_until, status, done_at)
SELECT $1, $2, $3, 'window', w.window_start, w.window_end, w.rows, $7, $8, $9, $10,
       CASE WHEN w.rows = 0 THEN 'done' ELSE 'planned' END, CASE WHEN w.rows = 0 THEN clock_timestamp() END
  FROM unnest($4::timestamptz[], $5::timestamptz[], $6::bigint[]) AS w (window_start, window_end, rows)
ON CONFLICT (realm_id, entity, filter_field, window_start, window_end) WHERE kind = 'window' AND status <> 'superseded'
DO UPDATE SET expected_rows = coalesce(excluded.expected_rows, c.expected_rows)
RETURNING chunk_id;

-- name: insert_catch_up
-- A run's own, from $4 on by LastUpdatedTime. What it is for stands in the windows, so an old one is never taken up.
INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, range_start, range_end, as_of)
VALUES ($1, $2, $3, 'catch_up', $4, $5, $6, $7)
RETURNING chunk_id;

-- name: supersede_catch_ups
-- Those of a series whose runs have ended: each run has its own.
UPDATE ops.chunks c SET status = 'superseded', done_at = NULL
 WHERE c.realm_id = $1 AND c.entity = $2 AND c.filter_field = $3 AND c.kind = 'catch_up'
   AND c.status IN ('planned', 'running', 'failed') AND NOT ops.is_held('ops.chunks', c.chunk_id)
   AND NOT EXISTS (SELECT FROM ops.run_chunks x JOIN ops.runs r USING (run_id)
                    WHERE x.chunk_id = c.chunk_id AND r.finished_at IS NULL);

-- name: owed_since
-- From when on edits and deletions of a range's records are owed, at $6 by QuickBooks' clock, by the windows that are in
-- the ledger; null: not.
SELECT min(coalesce(w.edits_known_until, w.as_of))
           FILTER (WHERE w.status <> 'done' OR w.edits_known_until IS NULL OR $3 <> 'last_updated' OR w.reached_ahead) AS edits,
       min(coalesce(w.deletions_known_until, w.as_of)) AS deletions
  FROM ops.windows_known($1, $2, $3, $4, $5, $6, clock_timestamp()) w;

-- name: know_edits
-- A catch-up chunk is done: what it caught up with. Windows that were done after it had begun are not covered. What another
-- run has caught up with since stays known, unless its clock was minutes ahead of what this one can be by now.
WITH catch_up AS (
    SELECT c.*, a.run_id, a.started_at, c.window_start + ops.settling_time() AS since
      FROM ops.chunks c JOIN ops.attempts a USING (chunk_id, attempt) WHERE c.chunk_id = $1
), told AS (
    UPDATE ops.runs r SET edits_since = k.since FROM catch_up k WHERE r.run_id = k.run_id
)
UPDATE ops.chunks w
   SET edits_known_until =
       CASE WHEN w.edits_known_until BETWEEN k.as_of AND k.as_of + (clock_timestamp() - k.started_at) + ops.settling_time()
            THEN w.edits_known_until ELSE k.as_of END
  FROM catch_up k
 WHERE (w.realm_id, w.entity, w.filter_field) = (k.realm_id, k.entity, k.filter_field) AND w.kind = 'window'
   AND w.status = 'done' AND w.done_at < k.started_at AND w.window_start >= k.range_start AND w.window_end <= k.range_end
   AND coalesce(w.edits_known_until, w.as_of) >= k.since;

-- name: deletions_owed
-- From when on deletions are to be asked for, for a run; its beginning; and now: all by QuickBooks' clock, of which
-- this server's only measures how much time has passed. `asked`: this server's, to tell which windows were done before.
SELECT coalesce((SELECT min(coalesce(w.deletions_known_until, w.as_of))
                   FROM ops.windows_known(r.realm_id, r.entity, r.filter_field, r.range_start, r.range_end, r.as_of, r.started_at) w
                  WHERE w.status = 'done'), r.as_of) AS since, r.as_of,
       r.as_of + (clock_timestamp() - r.started_at) AS now, clock_timestamp() AS asked
  FROM ops.runs r WHERE r.run_id = $1;

-- name: know_deletions
-- Deletions since $2 are marked. $3: of the whole entity, as change data capture lists them; otherwise only those of the
-- range were looked for. A window that was done after they were asked for ($4) may have brought one of them since. What
-- another run knows by now stays known, as in know_edits.
WITH run AS (
    UPDATE ops.runs SET deletions_since = $2 WHERE run_id = $1 RETURNING *
)
UPDATE ops.chunks c
   SET deletions_known_until =
       CASE WHEN c.deletions_known_until BETWEEN run.as_of AND run.as_of + (clock_timestamp() - run.started_at) + ops.settling_time()
            THEN c.deletions_known_until ELSE run.as_of END
  FROM run
 WHERE c.realm_id = run.realm_id AND c.entity = run.entity AND c.kind = 'window' AND c.status = 'done'
   AND coalesce(c.deletions_known_until, c.as_of) >= $2 AND c.done_at < $4
   AND ($3 OR (c.filter_field = run.filter_field AND c.window_start >= run.range_start AND c.window_end <= run.range_end));

-- name: supersede_chunks
UPDATE ops.chunks SET status = 'superseded', done_at = NULL WHERE chunk_id = ANY ($1::bigint[]);

-- name: reopen_windows
-- Windows that are done and that miss records of these moments ($4), or have older versions of them: to be read again.
UPDATE ops.chunks c SET status = 'failed', done_at = NULL, error = 'raw lacks records of it, or their newest versions'
 WHERE c.realm_id = $1 AND c.entity = $2 AND c.filter_field = $3 AND c.kind = 'window' AND c.status = 'done'
   AND EXISTS (SELECT FROM unnest($4::timestamptz[]) AS m (moment) WHERE m.moment >= c.window_start AND m.moment < c.window_end);

-- name: reopen_entity
-- What was read with another setting than the entity's from now on is not done ($3 says so).
UPDATE ops.chunks SET status = 'failed', done_at = NULL, error = $3
 WHERE realm_id = $1 AND entity = $2 AND kind = 'window' AND status = 'done';

-- name: replan_failed
-- A failed chunk is asked again by resume and by retry.
UPDATE ops.chunks SET status = 'planned', error = NULL WHERE chunk_id = ANY ($1::bigint[]) AND status = 'failed';

-- name: adopt_chunks
INSERT INTO ops.run_chunks (run_id, chunk_id) SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING;

-- name: claim_chunk
SELECT * FROM ops.claim_chunk($1);

-- name: take_over
SELECT * FROM ops.take_over($1, $2, $3, $4, $5, $6);

-- name: chunk_in_other_hands
-- A chunk of this run that is still to be done and that this process ($2) doesn't hold: one to be waited for where a living
-- session holds it, one to be claimed where nobody does.
SELECT c.chunk_id, ops.is_held('ops.chunks', c.chunk_id) AS is_held
  FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
 WHERE r.run_id = $1 AND c.status IN ('planned', 'running') AND NOT (c.chunk_id = ANY ($2::bigint[])) AND ops.may_begin(c)
 ORDER BY is_held, c.chunk_id LIMIT 1;

-- name: wait_for_chunk
-- Returns when its holder finished or died, or fails after lock_timeout.
SELECT pg_advisory_lock(hashtext('ops.chunks'), $1::int);

-- name: pages_of_chunk
-- Whether its holder gets on.
SELECT attempt, pages FROM ops.attempts WHERE chunk_id = $1 ORDER BY attempt DESC LIMIT 1;

-- name: release_chunk_lock
SELECT pg_advisory_unlock(hashtext('ops.chunks'), $1::int);

-- name: hold_chunk
-- A new session takes the lock again after its predecessor's connection was lost; lock_timeout bounds the wait.
SELECT pg_advisory_lock(hashtext('ops.chunks'), $1::int);

-- name: own_chunk
-- Fencing: locks the ledger's row for this transaction if the attempt is still ours; no row when it is not.
SELECT 1 FROM ops.chunks WHERE chunk_id = $1 AND attempt = $2 AND status = 'running' FOR NO KEY UPDATE;

-- name: add_to_attempt
UPDATE ops.attempts
   SET pages = pages + $3, requests = requests + $4, retries = retries + $5, throttled = throttled + $6,
       rows_read = rows_read + $7, rows_inserted = rows_inserted + $8, rows_updated = rows_updated + $9,
       rows_unchanged = rows_unchanged + $10, rows_quarantined = rows_quarantined + $11, bytes_read = bytes_read + $12,
       wait_seconds = wait_seconds + $13, fetch_seconds = fetch_seconds + $14, split_seconds = split_seconds + $15,
       copy_seconds = copy_seconds + $16, merge_seconds = merge_seconds + $17, overlapped_seconds = overlapped_seconds + $18
 WHERE chunk_id = $1 AND attempt = $2;

-- name: finish_attempt
UPDATE ops.attempts SET outcome = $3, error = $4, finished_at = clock_timestamp()
 WHERE chunk_id = $1 AND attempt = $2;

-- name: mark_chunk
UPDATE ops.chunks
   SET status = $3, error = $4, intuit_tid = $5, window_end = coalesce($6, window_end),
       done_at = CASE WHEN $3 = 'done' THEN clock_timestamp() END
 WHERE chunk_id = $1 AND attempt = $2 AND status = 'running'
RETURNING chunk_id;

-- name: attempt_of_chunk
SELECT attempt FROM ops.chunks WHERE chunk_id = $1;
