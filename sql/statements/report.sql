-- name: insert_events
INSERT INTO ops.events (run_id, happened_at, code, name, phase, level, message, fields)
SELECT $1, e.happened_at, e.code, e.name, e.phase, e.level, e.message, e.fields::jsonb
  FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
       AS e (happened_at, code, name, phase, level, message, fields);

-- name: events_of
SELECT happened_at, code, name, phase, level, message, fields ->> 'intuit_tid' AS intuit_tid
  FROM ops.events WHERE run_id = $1 ORDER BY event_id LIMIT 1000;

-- name: control_totals
-- Sums to hold against QuickBooks' own reports: the transactions of a run's range by the month of TxnDate and currency. NaN
-- where an amount can't be one. A payload is opened only where its totals aren't at hand.
SELECT left(date::text, 7) AS month, currency, sum(rows)::bigint AS rows, sum(total) AS total, sum(balance) AS balance,
       min(date)::text AS first_date, max(date)::text AS last_date
  FROM (SELECT coalesce(txn_date, ops.date_at(payload, 'TxnDate')) AS date,
               coalesce(ops.text_at(taken."CurrencyRef", 'value'), '') AS currency, count(*) AS rows,
               sum(ops.amount(ops.number_at(taken."TotalAmt", VARIADIC '{}'))) AS total,
               sum(ops.amount(ops.number_at(taken."Balance", VARIADIC '{}'))) AS balance
          FROM raw.{table},
               jsonb_to_record(coalesce(totals, payload)) AS taken ("CurrencyRef" jsonb, "TotalAmt" jsonb, "Balance" jsonb)
         WHERE deleted_at_utc IS NULL
           AND {moment $3} >= $1 AND {moment $3} < $2
         GROUP BY 1, 2) AS days
 GROUP BY 1, 2 ORDER BY 1, 2;

-- name: newest_runs
-- Of all companies in the warehouse.
SELECT * FROM ops.run_metrics WHERE run_id IN (SELECT run_id FROM ops.runs ORDER BY run_id DESC LIMIT $1) ORDER BY run_id DESC;

-- name: validations_of_runs
SELECT run_id, name, severity, message, found, advice, checked_at
  FROM ops.validations WHERE run_id = ANY ($1::bigint[]) ORDER BY validation_id;

-- name: newest_run
SELECT max(run_id) FROM ops.runs WHERE realm_id = $1;

-- name: requests_in_runs_month
-- What the company has sent in the month (UTC) in which a run began, by whatever run.
SELECT coalesce(sum(u.requests), 0)::bigint
  FROM ops.runs r JOIN ops.usage u ON u.realm_id = r.realm_id
   AND u.month = date_trunc('month', r.started_at AT TIME ZONE 'UTC')::date
 WHERE r.run_id = $1;
