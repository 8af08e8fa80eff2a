-- name: resolve_arrived
-- In the transaction in which records arrive in raw: what was set aside of these Ids is no longer in quarantine. What
-- another chunk has set aside since this attempt ($4, $5) began may be newer than what arrives.
UPDATE ops.quarantine q SET resolved_at = clock_timestamp()
  FROM ops.attempts a
 WHERE q.realm_id = $1 AND q.entity = $2 AND q.resolved_at IS NULL AND q.record_id = ANY ($3::text[])
   AND a.chunk_id = $4 AND a.attempt = $5 AND (q.last_seen_at < a.started_at OR q.chunk_id = a.chunk_id);

-- name: resolve_not_met
-- A chunk is done: what was set aside from a window inside it, and was not met when it was read again, is there no more.
-- A catch-up reads by LastUpdatedTime, whatever its run is about.
UPDATE ops.quarantine q SET resolved_at = clock_timestamp()
  FROM ops.chunks c JOIN ops.attempts a USING (chunk_id, attempt), ops.chunks old
 WHERE c.chunk_id = $1 AND c.kind = 'window' AND old.chunk_id = q.chunk_id
   AND (old.realm_id, old.entity) = (c.realm_id, c.entity)
   AND CASE old.kind WHEN 'catch_up' THEN 'last_updated' ELSE old.filter_field END = c.filter_field
   AND old.window_start >= c.window_start AND old.window_end <= c.window_end
   AND q.resolved_at IS NULL AND q.last_seen_at < a.started_at;

-- name: resolve_gone
-- QuickBooks has these Ids ($3) no more, asked at $4.
UPDATE ops.quarantine SET resolved_at = clock_timestamp()
 WHERE realm_id = $1 AND entity = $2 AND record_id = ANY ($3::text[]) AND resolved_at IS NULL AND last_seen_at < $4;

-- name: count_quarantine
SELECT count(*) FROM ops.quarantine WHERE realm_id = $1 AND entity = $2 AND resolved_at IS NULL;

-- name: count_quarantine_of_run
SELECT count(*) FROM ops.quarantine WHERE run_id = $1 AND resolved_at IS NULL;
