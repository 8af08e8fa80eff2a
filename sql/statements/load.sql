-- name: create_staging
-- A session's own staging: no WAL, empty again after each commit.
CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.staging (
    id               text        NOT NULL,
    payload          jsonb       NOT NULL,
    last_updated_utc timestamptz,
    sync_token       bigint      NOT NULL,
    created_utc      timestamptz,
    txn_date         date,
    digest           bytea,
    totals           jsonb,
    line             integer     NOT NULL
) ON COMMIT DELETE ROWS;
-- name: keep_staging_plain
-- Uncompressed, and in the row up to 8 KB: a payload is compressed once, when it enters raw, and not at all when
-- raw has it already.
ALTER TABLE pg_temp.staging ALTER COLUMN payload SET STORAGE EXTERNAL, SET (toast_tuple_target = 8160);

-- name: known_in_raw
-- Which of these Ids raw has, and their digests and versions: the others can be copied straight into it, and where raw has
-- the record itself nothing is to be done. One that is marked deleted may be alive again, which the merge decides.
SELECT id, CASE WHEN deleted_at_utc IS NULL THEN digest END AS digest,
       ops.in_calendar(last_updated_utc) AS last_updated_utc, sync_token
  FROM raw.{table} WHERE id = ANY ($1::text[]);

-- name: merge_page
-- The page in staging becomes rows of raw. Newest wins (ops.is_newer); of equal
-- versions with another payload the one just read. Payloads are compared as stored, byte by byte: number scale
-- counts (jsonb's own <> takes 639.00 for 639.0), and neither has to be made text. A row that raw already has is left out before the
-- INSERT, because ON CONFLICT would lock it, and a lock writes WAL. In order of id, so that two
-- sessions which merge the same rows wait for each other instead of deadlocking. A record that was marked
-- deleted is alive again only when it was read ($7, QuickBooks' clock) after it was marked. A row without a digest is
-- another hand's: its version is no reason to keep it.
WITH newest AS (
    SELECT DISTINCT ON (id) id, payload, last_updated_utc, sync_token, created_utc, txn_date, digest, totals
      FROM pg_temp.staging
     ORDER BY id, last_updated_utc IS NULL, sync_token DESC, last_updated_utc DESC, line DESC
), changed AS (
    SELECT n.*, (n.last_updated_utc, n.sync_token) IS NOT DISTINCT FROM (t.last_updated_utc, t.sync_token) AND t.id IS NOT NULL
                AND ops.without_reference_names(n.payload{stable}) <> ops.without_reference_names(t.payload{stable}) AS altered
      FROM newest n LEFT JOIN raw.{table} t USING (id)
     WHERE t.id IS NULL
        OR t.deleted_at_utc < $7
        OR ops.is_newer(n.last_updated_utc, n.sync_token, t.last_updated_utc, t.sync_token)
        OR (t.digest IS NULL AND (n.last_updated_utc, n.sync_token) IS DISTINCT FROM (t.last_updated_utc, t.sync_token))
        OR ((coalesce(n.last_updated_utc, '-infinity'), n.sync_token) = (coalesce(t.last_updated_utc, '-infinity'), t.sync_token)
            AND record_image_ne(ROW(n.payload{stable}), ROW(t.payload{stable})))
     ORDER BY id
), merged AS (
    INSERT INTO raw.{table} AS t (id, payload, extract_window_start_utc, extract_window_end_utc, page_number,
                                  page_size, request_payload, last_updated_utc, sync_token, run_id,
                                  created_utc, txn_date, digest, totals)
    SELECT id, payload, $1, $2, $3, $4, $5, last_updated_utc, sync_token, $6, created_utc, txn_date, digest, totals FROM changed
    ON CONFLICT (id) DO UPDATE
       SET payload = excluded.payload, ingested_at_utc = clock_timestamp(),
           extract_window_start_utc = excluded.extract_window_start_utc,
           extract_window_end_utc = excluded.extract_window_end_utc,
           page_number = excluded.page_number, page_size = excluded.page_size,
           request_payload = excluded.request_payload, last_updated_utc = excluded.last_updated_utc,
           sync_token = excluded.sync_token, run_id = excluded.run_id,
           created_utc = excluded.created_utc, txn_date = excluded.txn_date, digest = excluded.digest,
           totals = excluded.totals,
           deleted_at_utc = CASE WHEN t.deleted_at_utc < $7 THEN NULL ELSE t.deleted_at_utc END
     WHERE t.deleted_at_utc < $7
        OR t.digest IS NULL
        OR (excluded.last_updated_utc, excluded.sync_token) IS NOT DISTINCT FROM (t.last_updated_utc, t.sync_token)
        OR ops.is_newer(excluded.last_updated_utc, excluded.sync_token, t.last_updated_utc, t.sync_token)
    RETURNING (xmax = 0) AS inserted
)
SELECT (SELECT count(*) FROM newest) AS read,
       count(*) FILTER (WHERE inserted) AS inserted,
       count(*) FILTER (WHERE NOT inserted) AS updated,
       (SELECT count(*) FROM changed WHERE altered) AS altered
  FROM merged;

-- name: tell_altered
-- So many rows more that a run has overwritten under the version that they had, and not for the names in references
-- alone: for the check of a reprocess.
UPDATE ops.runs SET settings = jsonb_set(settings, '{altered}', to_jsonb(coalesce((settings ->> 'altered')::bigint, 0) + $2::bigint))
 WHERE run_id = $1;

-- name: quarantine_record
-- The same bytes for the same Id are kept once while they stand, and stand for the window in which they were met last: an
-- edit moves a record to another, and reading the old one again must not close the entry.
INSERT INTO ops.quarantine (realm_id, entity, record_id, reason, record, chunk_id, run_id, page_number, request_payload, intuit_tid)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (realm_id, entity, coalesce(record_id, ''), record_sha256, (CASE WHEN record_id IS NULL AND record IS NULL THEN chunk_id ELSE 0 END))
      WHERE resolved_at IS NULL
DO UPDATE SET last_seen_at = clock_timestamp(), reason = excluded.reason, chunk_id = excluded.chunk_id,
              page_number = excluded.page_number, request_payload = excluded.request_payload, intuit_tid = excluded.intuit_tid;

-- name: mark_deleted
-- QuickBooks has the records $1 no more, since the moments $2 where it says them: they are marked, their last payload kept,
-- and the seals of their days hold them so. How many were newly marked.
WITH gone AS (
    SELECT t.id AS gone_id, g.deleted_at, {created_day} AS day, {row_hash} AS hash_before
      FROM unnest($1::text[], $2::timestamptz[]) AS g (gone_id, deleted_at) JOIN raw.{table} t ON t.id = g.gone_id
     WHERE t.deleted_at_utc IS NULL
       FOR UPDATE OF t
), marked AS (
    UPDATE raw.{table} t SET deleted_at_utc = coalesce(g.deleted_at, clock_timestamp())
      FROM gone g
     WHERE t.id = g.gone_id AND t.deleted_at_utc IS NULL
    RETURNING g.day, {row_hash}::numeric - g.hash_before AS added
), sealed AS (
    UPDATE ops.seals s SET hash = s.hash + m.added
      FROM (SELECT day, sum(added) AS added FROM marked GROUP BY day) AS m
     WHERE (s.raw_schema, s.table_name, s.created_day) = ($3, $4, m.day)
)
SELECT count(*) FROM marked;
