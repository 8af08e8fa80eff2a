-- name: check_rows
-- All that a run wrote, in one pass, by the window and page that it came in: Ids that are empty or aren't the payload's own,
-- and rows whose date isn't inside the window that they were read in. A row with a digest has been written by this program,
-- with the payload's Id, and is as it was written: its payload isn't opened.
SELECT extract_window_start_utc AS window_start, extract_window_end_utc AS window_end, page_number, count(*) AS rows,
       count(*) FILTER (WHERE id IS NULL OR id = '') AS empty,
       count(*) FILTER (WHERE digest IS NULL AND {key} IS DISTINCT FROM id) AS unlike_payload,
       count(*) FILTER (WHERE last_updated_utc IS NULL) AS without_date,
       count(*) FILTER (WHERE last_updated_utc < extract_window_start_utc
                           OR last_updated_utc >= extract_window_end_utc) AS outside
  FROM raw.{table} WHERE run_id = $1
 GROUP BY 1, 2, 3;

-- name: ids_twice
-- In a query of its own: to count them Postgres sorts, and would carry the rows along.
SELECT count(*) - count(DISTINCT id) FROM raw.{table} WHERE run_id = $1;

-- name: chunks_short_of_plan
-- Windows that gave fewer rows than COUNT(*) promised when they were planned.
SELECT c.chunk_id, c.window_start, c.window_end, c.expected_rows, max(a.rows_read) AS rows_read
  FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
  JOIN ops.attempts a ON a.chunk_id = c.chunk_id AND a.attempt = c.attempt
 WHERE r.run_id = $1 AND c.kind = 'window' AND c.status = 'done' AND a.run_id = $1
 GROUP BY c.chunk_id
HAVING max(a.rows_read + a.rows_quarantined) < c.expected_rows
 ORDER BY c.window_start;

-- name: insert_validation
INSERT INTO ops.validations (run_id, name, severity, message, found, advice) VALUES ($1, $2, $3, $4, $5, $6);

-- name: quarantined_not_in_raw
-- Records in quarantine, of chunks that touch a range, of which raw has no row in that range: they explain a difference
-- of counts, one each. Those without an Id are told apart by their bytes.
SELECT count(DISTINCT coalesce(q.record_id, encode(q.record_sha256, 'hex')))
  FROM ops.quarantine q JOIN ops.chunks c USING (chunk_id)
 WHERE q.realm_id = $1 AND q.entity = $2 AND q.resolved_at IS NULL
   AND c.window_start < $4 AND coalesce(c.window_end, 'infinity') > $3
   AND NOT EXISTS (SELECT FROM raw.{table} t
                    WHERE t.id = q.record_id AND t.deleted_at_utc IS NULL
                      AND {moment $5} >= $3
                      AND {moment $5} < $4);

-- name: validations_of
SELECT name, severity, message, found, advice, checked_at FROM ops.validations WHERE run_id = $1 ORDER BY validation_id;
