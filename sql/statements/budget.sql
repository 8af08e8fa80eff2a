-- name: take_turn
SELECT turn, extract(epoch FROM moment)::double precision AS moment, extract(epoch FROM clock)::double precision AS clock,
       clock_set, (budget).open_for, extract(epoch FROM (budget).open_since)::double precision AS open_since,
       extract(epoch FROM (budget).pause)::double precision AS pause, (budget).pauses_in_a_row,
       (budget).failures_in_a_row, (budget).reason
  FROM ops.take_turn($1, $2, $3, $4, $5, $6);

-- name: end_turn
SELECT (budget).open_for, extract(epoch FROM (budget).open_since)::double precision AS open_since,
       extract(epoch FROM (budget).pause)::double precision AS pause, (budget).pauses_in_a_row,
       (budget).failures_in_a_row, (budget).reason
  FROM (SELECT ops.end_turn($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS budget OFFSET 0) AS ended;

-- name: this_backend
SELECT a.pid, a.backend_start FROM pg_stat_get_activity(pg_backend_pid()) a;

-- name: keep_turns
-- What a process has in flight is its new connection's ($4, $5): a place that nobody holds goes to others.
UPDATE ops.turns SET backend_pid = $4, backend_start = $5
 WHERE realm_id = $1 AND backend_pid = $2 AND backend_start = $3 AND arrived_by = 'infinity';

-- name: return_turn
SELECT ops.return_turn($1, $2, $3);

-- name: requests_this_month
-- A company's requests in this month (UTC).
SELECT coalesce(sum(requests), 0)::bigint FROM ops.usage
 WHERE realm_id = $1 AND month = date_trunc('month', now() AT TIME ZONE 'UTC')::date;
