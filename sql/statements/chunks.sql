-- name: lock_planning
-- One planner at a time for a company's entity; the lock ends with the session or by unlock_planning.
SELECT pg_advisory_lock(hashtext('ops.planning'), hashtext($1 || '/' || $2));

-- name: unlock_planning
SELECT pg_advisory_unlock(hashtext('ops.planning'), hashtext($1 || '/' || $2));

-- name: chunks_in_range
-- The ledger's windows that touch a range. `held` says that a living worker has the chunk now.
SELECT chunk_id, window_start, window_end, status, expected_rows,
       status = 'running' AND EXISTS (
           SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid::bigint = (hashtext('ops.chunks')::bigint & 4294967295)
              AND l.objid::bigint = c.chunk_id AND l.objsubid = 2 AND l.granted) AS held
  FROM ops.chunks c
 WHERE realm_id = $1 AND entity = $2 AND filter_field = $3 AND kind = 'window' AND status <> 'superseded'
   AND window_start < $5 AND window_end > $4
 ORDER BY window_start;

-- name: insert_chunk
-- Idempotent: a window that is in the ledger already is not planned twice.
INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end, range_start, range_end, expected_rows)
VALUES ($1, $2, $3, 'window', $4, $5, $6, $7, $8)
ON CONFLICT (realm_id, entity, filter_field, window_start, window_end) WHERE kind = 'window' AND status <> 'superseded'
DO UPDATE SET expected_rows = coalesce(excluded.expected_rows, ops.chunks.expected_rows)
RETURNING chunk_id;

-- name: insert_empty_chunk
-- A window that Intuit's COUNT(*) says is empty: done without a read.
INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end, range_start, range_end,
                        expected_rows, status, done_at)
VALUES ($1, $2, $3, 'window', $4, $5, $6, $7, 0, 'done', clock_timestamp())
ON CONFLICT (realm_id, entity, filter_field, window_start, window_end) WHERE kind = 'window' AND status <> 'superseded'
DO UPDATE SET status = 'done', done_at = clock_timestamp(), expected_rows = 0, error = NULL
RETURNING chunk_id;

-- name: insert_catch_up
-- One catch-up is open for a range; an interrupted run's older one stays, since its start is earlier.
INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, range_start, range_end)
VALUES ($1, $2, $3, 'catch_up', $4, $5, $6)
ON CONFLICT (realm_id, entity, filter_field, range_start, range_end) WHERE kind = 'catch_up' AND status IN ('planned', 'running', 'failed')
DO UPDATE SET window_start = least(ops.chunks.window_start, excluded.window_start)
RETURNING chunk_id;

-- name: open_catch_up
SELECT chunk_id FROM ops.chunks
 WHERE realm_id = $1 AND entity = $2 AND filter_field = $3 AND kind = 'catch_up'
   AND range_start = $4 AND range_end = $5 AND status IN ('planned', 'running', 'failed');

-- name: supersede_chunks
UPDATE ops.chunks SET status = 'superseded', done_at = NULL WHERE chunk_id = ANY ($1::bigint[]);

-- name: replan_failed
-- A failed chunk is asked again by resume and by retry.
UPDATE ops.chunks SET status = 'planned', error = NULL WHERE chunk_id = ANY ($1::bigint[]) AND status = 'failed';

-- name: adopt_chunks
INSERT INTO ops.run_chunks (run_id, chunk_id) SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING;

-- name: claim_chunk
SELECT * FROM ops.claim_chunk($1);

-- name: chunk_in_other_hands
-- A chunk of this run that another session holds now, to wait for.
SELECT c.chunk_id FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
 WHERE r.run_id = $1 AND c.status = 'running' AND NOT (c.chunk_id = ANY ($2::bigint[]))
 ORDER BY c.chunk_id LIMIT 1;

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
 WHERE chunk_id = $1 AND attempt = $2 AND status = 'running';
