-- name: take_turn
SELECT turn, extract(epoch FROM moment)::double precision AS moment, extract(epoch FROM clock)::double precision AS clock
  FROM ops.take_turn($1, $2, $3, $4, $5, $6);

-- name: end_turn
SELECT ops.end_turn($1, $2, $3);

-- name: return_turn
SELECT ops.return_turn($1, $2, $3);

-- name: pause_company
SELECT ops.pause_company($1, $2) AS in_a_row;

-- name: requests_this_month
-- A company's requests in this month (UTC).
SELECT coalesce(sum(requests), 0)::bigint FROM ops.usage
 WHERE realm_id = $1 AND month = date_trunc('month', now() AT TIME ZONE 'UTC')::date;
