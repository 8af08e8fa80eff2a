-- name: unfinished_runs
-- Runs that left chunks undone, the newest of each series first; a series' older runs share its chunks.
SELECT DISTINCT ON (realm_id, entity, filter_field, range_start, range_end)
       run_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency, status, error,
       chunks_planned AS planned, chunks_planned - chunks_done AS left
  FROM ops.run_metrics
 WHERE realm_id = $1 AND ($2::bigint IS NULL OR run_id = $2) AND chunks_done < chunks_planned
 ORDER BY realm_id, entity, filter_field, range_start, range_end, run_id DESC;

-- name: chunks_at
-- The windows of the ledger that hold a moment or touch a day.
SELECT chunk_id, entity, filter_field, window_start, window_end, status, error
  FROM ops.chunks
 WHERE realm_id = $1 AND kind = 'window' AND status <> 'superseded'
   AND window_start < $3 AND window_end > $2
   AND ($4::text IS NULL OR entity = $4) AND filter_field = $5
 ORDER BY entity, window_start;

-- name: failed_chunks
SELECT chunk_id, entity, filter_field, window_start, window_end, range_start, range_end, status, error, intuit_tid
  FROM ops.chunks
 WHERE realm_id = $1 AND status = 'failed' AND ($2::text IS NULL OR entity = $2)
 ORDER BY entity, window_start;

-- name: list_quarantine
SELECT quarantine_id, entity, record_id, reason, octet_length(record) AS bytes, chunk_id, run_id, page_number,
       intuit_tid, quarantined_at, resolved_at
  FROM ops.quarantine
 WHERE realm_id = $1 AND ($2::text IS NULL OR entity = $2) AND ($3 OR resolved_at IS NULL)
 ORDER BY quarantine_id;

-- name: show_quarantine
SELECT quarantine_id, entity, record_id, reason, record, chunk_id, run_id, page_number, request_payload, intuit_tid,
       quarantined_at, resolved_at
  FROM ops.quarantine WHERE realm_id = $1 AND quarantine_id = $2;

-- name: quarantine_windows
-- The chunks that entries came in, to be read again.
SELECT q.quarantine_id, q.entity, c.chunk_id, c.filter_field, c.kind, c.window_start, c.window_end
  FROM ops.quarantine q JOIN ops.chunks c USING (chunk_id)
 WHERE q.realm_id = $1 AND q.resolved_at IS NULL AND ($2::bigint[] IS NULL OR q.quarantine_id = ANY ($2::bigint[]))
 ORDER BY q.entity, c.window_start;

-- name: close_quarantine
-- Before their chunks are read again: what is still refused then comes back as a new entry.
UPDATE ops.quarantine SET resolved_at = clock_timestamp() WHERE quarantine_id = ANY ($1::bigint[]) AND resolved_at IS NULL;
