-- name: days_in_raw
-- Rows of each UTC day of a range, by the filter field $3; those marked deleted don't count.
SELECT (moment AT TIME ZONE 'UTC')::date AS day, count(*) AS rows
  FROM (SELECT {moment $3} AS moment FROM raw.{table} WHERE deleted_at_utc IS NULL) AS r
 WHERE moment >= $1 AND moment < $2
 GROUP BY 1 ORDER BY 1;

-- name: hours_in_raw
-- The same by the hour, to hold windows of any whole hours against QuickBooks' COUNT(*); without the Ids $4. Only what was
-- last updated before $5, where that is given.
SELECT date_trunc('hour', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS hour, count(*) AS rows
  FROM (SELECT {moment $3} AS moment FROM raw.{table}
         WHERE deleted_at_utc IS NULL AND id <> ALL ($4::text[]) AND ($5::timestamptz IS NULL OR (last_updated_utc >= $5) IS NOT TRUE)) AS r
 WHERE moment >= $1 AND moment < $2
 GROUP BY 1 ORDER BY 1;

-- name: counted_in_raw
-- How many of the Ids $4 raw counts in a range, by the filter field $3; $5 as in hours_in_raw.
SELECT count(*) FROM raw.{table}
 WHERE id = ANY ($4::text[]) AND deleted_at_utc IS NULL AND ($5::timestamptz IS NULL OR (last_updated_utc >= $5) IS NOT TRUE)
   AND {moment $3} >= $1 AND {moment $3} < $2;

-- name: edited_since_in_raw
-- Rows of a range, by the filter field $3, that were last updated at $4 or later.
SELECT id, ops.in_calendar(moment) AS moment
  FROM (SELECT id, {moment $3} AS moment FROM raw.{table} WHERE deleted_at_utc IS NULL AND last_updated_utc >= $4) AS r
 WHERE moment >= $1 AND moment < $2
 ORDER BY id;

-- name: create_seen
-- The Ids that QuickBooks has of a window, while the window is compared.
CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.seen (id text PRIMARY KEY);

-- name: forget_seen
TRUNCATE pg_temp.seen;

-- name: remember_seen
INSERT INTO pg_temp.seen SELECT DISTINCT id FROM pg_temp.staging ON CONFLICT DO NOTHING;

-- name: compare_page
-- A page of QuickBooks in staging, held against raw: only the records that differ, and how.
-- Versions are compared as merge_page compares them.
WITH newest AS (
    SELECT DISTINCT ON (id) id, payload, last_updated_utc, sync_token
      FROM pg_temp.staging
     ORDER BY id, last_updated_utc IS NULL, sync_token DESC, last_updated_utc DESC, line DESC
)
SELECT n.id,
       CASE WHEN t.id IS NULL THEN 'missing'
            WHEN t.deleted_at_utc IS NOT NULL THEN 'undeleted'
            WHEN ops.is_newer(n.last_updated_utc, n.sync_token, t.last_updated_utc, t.sync_token)
            THEN CASE WHEN n.last_updated_utc = t.last_updated_utc THEN 'unmoved' ELSE 'outdated' END
            WHEN (n.last_updated_utc, n.sync_token) = (t.last_updated_utc, t.sync_token)
             AND ops.without_reference_names(n.payload{stable}) = ops.without_reference_names(t.payload{stable}) THEN 'renamed'
            ELSE 'altered' END AS kind,
       -- By another hand.
       t.id IS NOT NULL AND t.digest IS NULL AS changed
  FROM newest n LEFT JOIN raw.{table} t USING (id)
 WHERE t.id IS NULL
    OR t.deleted_at_utc IS NOT NULL
    OR (n.payload{stable})::text <> (t.payload{stable})::text
    OR n.last_updated_utc IS DISTINCT FROM t.last_updated_utc
    OR n.sync_token <> t.sync_token
 ORDER BY n.id;

-- name: unseen_in_raw
-- Rows of a window of the field $1 in raw that QuickBooks didn't give for it, each with its date by the filter field $4.
SELECT id, ops.in_calendar(last_updated_utc) AS last_updated_utc, sync_token, ops.in_calendar(moment) AS moment
  FROM (SELECT t.*, {moment $4} AS moment FROM raw.{table} AS t
         WHERE deleted_at_utc IS NULL
           AND {moment $1} >= $2 AND {moment $1} < $3
           AND NOT EXISTS (SELECT FROM pg_temp.seen s WHERE s.id = t.id)) AS unseen
 ORDER BY id;

-- name: standing_quarantine
-- The Ids that stand in quarantine; null for records without one.
SELECT DISTINCT record_id FROM ops.quarantine WHERE realm_id = $1 AND entity = $2 AND resolved_at IS NULL;

-- name: forget_versions
-- Before a repair: the next read of these Ids wins, whatever version or time of deletion raw pretends to have.
UPDATE raw.{table}
   SET last_updated_utc = NULL, sync_token = 0, digest = NULL, created_utc = NULL, txn_date = NULL, totals = NULL,
       deleted_at_utc = CASE WHEN deleted_at_utc IS NOT NULL THEN 'epoch'::timestamptz END
 WHERE id = ANY ($1::text[]);

-- name: check_table_keys
-- The whole table: Ids that stand twice, and of living rows those that are empty or aren't the payload's own.
SELECT count(*) AS rows, count(*) - count(DISTINCT id) AS twice,
       count(*) FILTER (WHERE deleted_at_utc IS NULL AND (id IS NULL OR id = '')) AS empty,
       count(*) FILTER (WHERE deleted_at_utc IS NULL AND {key} IS DISTINCT FROM id) AS unlike_payload,
       count(*) FILTER (WHERE deleted_at_utc IS NOT NULL) AS deleted
  FROM raw.{table};

-- name: misplaced_in_raw
-- Rows of the range whose window can't be the one that they were read in: their LastUpdatedTime is outside it,
-- no chunk of the ledger has it, or their times contradict each other. A window of created or txn_date says
-- nothing about LastUpdatedTime. And rows that a repair wanted to be read again, and nobody has read since. What stands in
-- quarantine can't be read again, and is told of as that.
WITH windows AS (
    SELECT DISTINCT window_start, window_end FROM ops.chunks
     WHERE realm_id = $5 AND entity = $1 AND kind = 'window'
), catch_ups AS (
    SELECT DISTINCT x.run_id, c.window_start FROM ops.run_chunks x JOIN ops.chunks c USING (chunk_id)
     WHERE c.realm_id = $5 AND c.entity = $1 AND c.kind = 'catch_up'
), judged AS (
    SELECT t.id, {moment $4} AS moment,
           CASE WHEN t.last_updated_utc IS NULL AND t.payload #>> '{MetaData,LastUpdatedTime}' IS NOT NULL
                    THEN 'to be read again, and not read since'
                WHEN t.ingested_at_utc > clock_timestamp() + interval '5 minutes' THEN 'ingested in the future'
                WHEN u.run_id IS NULL THEN 'written by no run of the ledger'
                WHEN u.filter_field = 'last_updated'
                 AND (t.last_updated_utc < t.extract_window_start_utc OR t.last_updated_utc >= t.extract_window_end_utc)
                    THEN 'LastUpdatedTime outside its window'
                WHEN w.window_start IS NULL AND k.run_id IS NULL THEN 'its window is no chunk of the ledger'
                END AS reason
      FROM raw.{table} t
      LEFT JOIN ops.runs u ON u.run_id = t.run_id
      LEFT JOIN windows w ON w.window_start = t.extract_window_start_utc AND w.window_end = t.extract_window_end_utc
      LEFT JOIN catch_ups k ON k.run_id = t.run_id AND k.window_start = t.extract_window_start_utc
     WHERE t.deleted_at_utc IS NULL
       AND NOT EXISTS (SELECT FROM ops.quarantine q
                        WHERE q.realm_id = $5 AND q.entity = $1 AND q.record_id = t.id AND q.resolved_at IS NULL)
)
SELECT id, reason, moment FROM judged
 WHERE reason IS NOT NULL AND moment >= $2 AND moment < $3
 ORDER BY reason, id;

-- name: hollow_chunks
-- Windows marked done that nobody read: no attempt ended as done, and QuickBooks never counted them as empty.
SELECT c.chunk_id, c.window_start, c.window_end, c.expected_rows
  FROM ops.chunks c
 WHERE c.realm_id = $1 AND c.entity = $2 AND c.filter_field = $3 AND c.kind = 'window' AND c.status = 'done'
   AND c.window_start < $5 AND c.window_end > $4
   AND c.expected_rows IS DISTINCT FROM 0
   AND NOT EXISTS (SELECT FROM ops.attempts a WHERE a.chunk_id = c.chunk_id AND a.outcome = 'done')
 ORDER BY c.window_start;

-- name: ledger_windows
-- All windows of a series that touch a range, as they stand.
SELECT chunk_id, window_start, window_end, status, range_start, range_end
  FROM ops.chunks
 WHERE realm_id = $1 AND entity = $2 AND filter_field = $3 AND kind = 'window' AND status <> 'superseded'
   AND window_start < $5 AND window_end > $4
 ORDER BY window_start, window_end;

-- name: planned_ranges
-- What runs have planned to read of a company's entity, by any date.
SELECT filter_field, lower(stretch) AS range_start, upper(stretch) AS range_end
  FROM (SELECT filter_field, unnest(range_agg(tstzrange(window_start, window_end))) AS stretch
          FROM ops.chunks
         WHERE realm_id = $1 AND entity = $2 AND kind = 'window' AND status <> 'superseded'
         GROUP BY filter_field) AS r;

-- name: pages_read
-- Pages of a run's windows of which every record that was read was written. Where the catch-up begins at the same moment,
-- rows don't say which of the two they came in.
SELECT a.chunk_id, c.window_start, c.window_end, a.pages
  FROM ops.attempts a JOIN ops.chunks c USING (chunk_id)
 WHERE a.run_id = $1 AND a.outcome = 'done' AND c.kind = 'window'
   AND a.rows_read = a.rows_inserted + a.rows_updated AND a.rows_read > 0
   AND NOT EXISTS (SELECT FROM ops.run_chunks x JOIN ops.chunks u USING (chunk_id)
                    WHERE x.run_id = a.run_id AND u.kind = 'catch_up' AND u.window_start = c.window_start)
 ORDER BY a.chunk_id, a.attempt;

-- name: hash_of_window
-- The reprocessing proof: how many rows a window has in raw, and figures over all that they say, over those that another
-- hand has changed, and over their versions alone.
SELECT count(*) AS rows, coalesce(sum({row_hash}), 0)::text AS hash,
       coalesce(sum({row_hash}) FILTER (WHERE digest IS NULL), 0)::text AS undigested,
       coalesce(sum(hash_record_extended(ROW(id, last_updated_utc, sync_token, deleted_at_utc IS NOT NULL), 0)), 0)::text AS versions
  FROM raw.{table}
 WHERE {moment $3} >= $1 AND {moment $3} < $2;

-- name: count_table
SELECT count(*) FROM raw.{table};

-- name: rows_after_last_run
-- How many rows the table had when the last run before this one had ended, and the widest range of the entity's runs.
SELECT v.run_id, (v.found ->> 'table_rows')::bigint AS table_rows,
       (SELECT min(range_start) FROM ops.runs w WHERE w.realm_id = $1 AND w.entity = $2 AND w.filter_field = $4) AS range_start,
       (SELECT max(range_end) FROM ops.runs w WHERE w.realm_id = $1 AND w.entity = $2 AND w.filter_field = $4) AS range_end
  FROM ops.validations v JOIN ops.runs r USING (run_id)
 WHERE r.realm_id = $1 AND r.entity = $2 AND v.run_id < $3 AND v.name = 'volume' AND v.found ? 'table_rows'
 ORDER BY v.validation_id DESC LIMIT 1;

-- name: record_daily_volume
INSERT INTO ops.daily_volume (run_id, day, rows)
SELECT $1, day, rows FROM unnest($2::date[], $3::bigint[]) AS d (day, rows)
ON CONFLICT (run_id, day) DO UPDATE SET rows = excluded.rows;

-- name: daily_volume_of
SELECT day, rows FROM ops.daily_volume WHERE run_id = $1 ORDER BY day;

-- name: read_until
-- Of a series: up to when its runs have counted their ranges, which is when they began or their range's end, and up to when
-- there should be windows. These end when the present of a run that reached it had settled; where none did, of any run. A
-- retry reads only what had failed. $4 is the present by QuickBooks' clock; null where that isn't known.
SELECT max(least(began, reaches)) AS counted, coalesce(max(began) FILTER (WHERE reaches >= began), max(began)) AS covered
  FROM (SELECT ops.at_most(as_of, started_at, coalesce($4::timestamptz, 'infinity'), clock_timestamp()) AS began,
               range_end + ops.settling_time() AS reaches
          FROM ops.runs
         WHERE realm_id = $1 AND entity = $2 AND filter_field = $3 AND as_of IS NOT NULL
           AND mode NOT IN ('verify', 'retry') AND status IN ('done', 'incomplete', 'running')) AS runs;
