-- name: browse_runs
SELECT m.run_id, m.entity, m.mode, m.status, m.range_start, m.range_end, m.chunks_done, m.chunks_planned, m.chunks_failed,
       m.rows_read, m.requests, m.seconds, m.worst_check, m.started_at, m.error
  FROM ops.run_metrics m ORDER BY m.run_id DESC LIMIT 200;

-- name: browse_chunks
-- A run's chunks as they stand: those at work first, then what failed, then the newest done.
SELECT c.chunk_id, c.kind, c.window_start, c.window_end, c.status, c.expected_rows, m.rows_read, m.rows_inserted,
       m.rows_updated, m.rows_unchanged, m.requests, m.seconds, c.error
  FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
  LEFT JOIN ops.chunk_metrics m ON m.chunk_id = c.chunk_id AND m.run_id = r.run_id
 WHERE r.run_id = $1
 ORDER BY array_position(ARRAY['running', 'failed', 'planned', 'done', 'superseded'], c.status), c.window_start
 LIMIT 1000;
