-- name: days_to_seal
-- The days of CreateTime that a run wrote to, and those that earlier runs wrote to and were cut off before they
-- could seal them. A day that was sealed after such a run is not sealed again: it would hide what another hand did.
WITH written AS (
    SELECT run_id, {created_day} AS day
      FROM raw.{table}
     WHERE run_id = $3
        OR run_id IN (SELECT r.run_id FROM ops.runs r
                       WHERE r.run_id < $3
                         AND NOT EXISTS (SELECT FROM ops.validations v WHERE v.run_id = r.run_id AND v.name = 'seals'))
)
SELECT DISTINCT w.day
  FROM written w LEFT JOIN ops.seals s ON s.raw_schema = $1 AND s.table_name = $2 AND s.created_day = w.day
 WHERE w.run_id = $3 OR s.run_id IS NULL OR s.run_id < w.run_id;

-- name: figures_of_days
-- What the days of CreateTime look like now; $1 null: all of them. A LastUpdatedTime that isn't known may be any.
SELECT {created_day} AS day, count(*) AS rows,
       sum({row_hash})::numeric AS hash,
       coalesce(min(ops.in_calendar(last_updated_utc)), '0001-01-01T00:00Z') AS updated_from,
       coalesce(max(ops.in_calendar(last_updated_utc)), '9999-12-31T00:00Z') AS updated_to
  FROM raw.{table}
 WHERE $1::date[] IS NULL OR {created_day} = ANY ($1::date[])
 GROUP BY 1;

-- name: write_seals
-- A day that has fewer rows than when it was sealed has lost them to another hand, unless QuickBooks has confirmed it ($9).
WITH figures AS (
    SELECT d.* FROM unnest($4::date[], $5::bigint[], $6::numeric[], $7::timestamptz[], $8::timestamptz[])
                    AS d (day, rows, hash, updated_from, updated_to)
), lost AS (
    INSERT INTO ops.changed_days (raw_schema, table_name, created_day)
    SELECT s.raw_schema, s.table_name, d.day
      FROM figures d JOIN ops.seals s ON (s.raw_schema, s.table_name, s.created_day) = ($1, $2, d.day) AND s.rows > d.rows
     WHERE NOT $9
    ON CONFLICT DO NOTHING
)
INSERT INTO ops.seals AS s (raw_schema, table_name, created_day, rows, hash, updated_from, updated_to, run_id)
SELECT $1, $2, d.day, d.rows, d.hash, d.updated_from, d.updated_to, $3
  FROM figures d
ON CONFLICT (raw_schema, table_name, created_day) DO UPDATE
   SET rows = excluded.rows, hash = excluded.hash, updated_from = excluded.updated_from,
       updated_to = excluded.updated_to, run_id = excluded.run_id, sealed_at = clock_timestamp();

-- name: note_changed
-- Days that raw holds otherwise than when they were sealed, though no run has written to them since: no trigger sees
-- TRUNCATE, DROP TABLE, a table that is restored, or a replica's DELETE. Where a run has, fewer rows still show it: a row
-- that QuickBooks has no more is marked, and stays.
WITH unsealed AS (
    SELECT r.run_id, CASE WHEN r.finished_at IS NULL THEN 9223372036854775807 ELSE r.run_id END AS writes_until
      FROM ops.runs r
     WHERE NOT EXISTS (SELECT FROM ops.validations v WHERE v.run_id = r.run_id AND v.name = 'seals')
), now AS (
    SELECT {created_day} AS day, count(*) AS rows, sum({row_hash})::numeric AS hash, max(u.writes_until) AS written
      FROM raw.{table} LEFT JOIN unsealed u USING (run_id)
     GROUP BY 1
)
INSERT INTO ops.changed_days (raw_schema, table_name, created_day)
SELECT s.raw_schema, s.table_name, s.created_day
  FROM ops.seals s LEFT JOIN now d ON d.day = s.created_day
 WHERE (s.raw_schema, s.table_name) = ($1, $2)
   AND (s.rows > coalesce(d.rows, 0) OR (s.hash <> coalesce(d.hash, 0) AND (d.written > s.run_id) IS NOT TRUE))
   AND NOT EXISTS (SELECT FROM ops.changed_days c
                    WHERE (c.raw_schema, c.table_name, c.created_day) = (s.raw_schema, s.table_name, s.created_day))
ON CONFLICT DO NOTHING;

-- name: seals_of
SELECT created_day AS day, rows, hash, updated_from, updated_to
  FROM ops.seals WHERE raw_schema = $1 AND table_name = $2 ORDER BY created_day;

-- name: changed_days
-- The days that another hand has changed, and by which transactions, as text.
SELECT created_day AS day, array_agg(transaction::text) AS transactions
  FROM ops.changed_days WHERE raw_schema = $1 AND table_name = $2 GROUP BY 1;

-- name: days_beyond
-- Which of the days $1 no comparison confirms: they have a deleted row that another hand has changed, or are of rows without
-- a CreateTime, which no window of CreateTime holds, and one of these is outside the range of the filter field $4.
SELECT DISTINCT {created_day} AS day
  FROM raw.{table}
 WHERE {created_day} = ANY ($1::date[])
   AND CASE WHEN deleted_at_utc IS NOT NULL THEN digest IS NULL
            ELSE {created_day} <= '1970-01-01' AND ({moment $4} >= $2 AND {moment $4} < $3) IS NOT TRUE END;

-- name: forget_changed_days
-- What was confirmed: of these days, changes by these transactions. $3 and $4 are of one length.
DELETE FROM ops.changed_days AS c
 USING unnest($3::date[], $4::text[]) AS d (day, transaction)
 WHERE c.raw_schema = $1 AND c.table_name = $2 AND c.created_day = d.day AND c.transaction = d.transaction::xid8;

-- name: join_changes
-- One entry a day says as much as all that another hand's jobs have left in a year. A new one, since a verification that is
-- under way forgets those that it has seen, and may have looked before the last of these was committed.
WITH joined AS (
    DELETE FROM ops.changed_days
     WHERE raw_schema = $1 AND table_name = $2
       -- An array, which is made once whatever the planner believes of a table that was never analyzed.
       AND created_day = ANY (ARRAY(SELECT created_day FROM ops.changed_days WHERE raw_schema = $1 AND table_name = $2
                                     GROUP BY created_day HAVING count(*) > 1))
    RETURNING created_day
)
INSERT INTO ops.changed_days (raw_schema, table_name, created_day) SELECT DISTINCT $1, $2, created_day FROM joined;
