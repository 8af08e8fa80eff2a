-- name: unfinished_runs
-- The newest run of each series and range, or of run $2's, that isn't done; or that was, and has windows open again: those
-- that another try of its checks found incomplete, or a repair that was cut off. Windows that another run will read, or
-- reads, are that one's. The range is wide enough to hold them. `left` counts chunks.
SELECT run_id, entity, filter_field, mode, least(range_start, first) AS range_start, greatest(range_end, last) AS range_end, chunk, concurrency, status, error, ended, planned,
       CASE status WHEN 'done' THEN open ELSE mine END AS left
  FROM (SELECT DISTINCT ON (r.realm_id, r.entity, r.filter_field, r.range_start, r.range_end)
               r.run_id, r.realm_id, r.entity, r.filter_field, r.mode, r.range_start, r.range_end, r.chunk, r.concurrency, r.status,
               r.error, r.finished_at IS NOT NULL OR ops.is_gone(r) AS ended,
               (SELECT count(*) FROM ops.run_chunks x WHERE x.run_id = r.run_id) AS planned,
               (SELECT count(*) FROM ops.run_chunks x JOIN ops.chunks c USING (chunk_id)
                 WHERE x.run_id = r.run_id AND c.status NOT IN ('done', 'superseded')) AS mine
          FROM ops.runs r
         WHERE r.realm_id = $1 AND r.mode <> 'verify'
           AND ($2::bigint IS NULL OR (r.entity, r.filter_field, r.range_start, r.range_end) =
                (SELECT asked.entity, asked.filter_field, asked.range_start, asked.range_end FROM ops.runs asked
                  WHERE asked.run_id = $2 AND asked.realm_id = $1))
         ORDER BY r.realm_id, r.entity, r.filter_field, r.range_start, r.range_end, r.run_id DESC) AS newest,
       LATERAL (SELECT count(*) AS open, min(c.window_start) AS first, max(c.window_end) AS last FROM ops.chunks c
                 WHERE newest.status = 'done'
                   AND (c.realm_id, c.entity, c.filter_field) = (newest.realm_id, newest.entity, newest.filter_field)
                   AND c.kind = 'window' AND c.status NOT IN ('done', 'superseded')
                   AND c.window_start < newest.range_end AND c.window_end > newest.range_start
                   AND NOT EXISTS (SELECT FROM ops.run_chunks x JOIN ops.runs o USING (run_id)
                                    WHERE x.chunk_id = c.chunk_id
                                      AND CASE WHEN o.finished_at IS NULL THEN NOT ops.is_gone(o)
                                               ELSE o.mode <> 'verify' AND o.status <> 'done' END)) AS again
 WHERE newest.status <> 'done' OR again.open > 0
 ORDER BY newest.run_id;

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
-- The chunks that entries came in, to be read again. A catch-up that was cut off has no end: until today's.
SELECT q.quarantine_id, q.entity, c.chunk_id, c.filter_field, c.kind, c.window_start,
       coalesce(c.window_end, date_trunc('day', clock_timestamp(), 'UTC') + interval '1 day') AS window_end
  FROM ops.quarantine q JOIN ops.chunks c USING (chunk_id)
 WHERE q.realm_id = $1 AND q.resolved_at IS NULL AND ($2::bigint[] IS NULL OR q.quarantine_id = ANY ($2::bigint[]))
 ORDER BY q.entity, c.window_start;
