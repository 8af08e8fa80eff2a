-- One entity's table in raw. Applied once for each row of async_extractor/entities.py:
-- {table} is qb_invoices, qb_payments and so on; {entity} is Intuit's name, Invoice, Payment; {id} what its id is.
CREATE TABLE IF NOT EXISTS raw.{table} (
    id                       text        PRIMARY KEY CHECK (id <> ''),
    payload                  jsonb       NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    ingested_at_utc          timestamptz NOT NULL DEFAULT clock_timestamp(),
    extract_window_start_utc timestamptz NOT NULL,
    extract_window_end_utc   timestamptz NOT NULL,
    page_number              integer     NOT NULL CHECK (page_number >= 1),
    page_size                integer     NOT NULL CHECK (page_size BETWEEN 1 AND 1000),
    request_payload          jsonb       NOT NULL CHECK (request_payload ? 'query'),
    last_updated_utc         timestamptz,
    sync_token               bigint      NOT NULL DEFAULT 0,
    run_id                   bigint      NOT NULL,
    deleted_at_utc           timestamptz,
    CHECK (extract_window_start_utc <= extract_window_end_utc)
);
-- Tables that version 0.1.0 made haven't these. Null: to be read from the payload.
ALTER TABLE raw.{table} ADD COLUMN IF NOT EXISTS created_utc timestamptz, ADD COLUMN IF NOT EXISTS txn_date date,
                        ADD COLUMN IF NOT EXISTS digest bytea, ADD COLUMN IF NOT EXISTS totals jsonb;

COMMENT ON TABLE  raw.{table} IS 'QuickBooks Online {entity} records, one row an Id, the payload complete and unchanged.';
COMMENT ON COLUMN raw.{table}.id                       IS '{id}';
COMMENT ON COLUMN raw.{table}.payload                  IS 'The whole record as Intuit sent it: every key, every value, number scale kept (639.00 stays 639.00).';
COMMENT ON COLUMN raw.{table}.ingested_at_utc          IS 'When this version was written here (UTC).';
COMMENT ON COLUMN raw.{table}.extract_window_start_utc IS 'Start of the window that it was read in (UTC, inclusive).';
COMMENT ON COLUMN raw.{table}.extract_window_end_utc   IS 'End of the window that it was read in (UTC, exclusive).';
COMMENT ON COLUMN raw.{table}.page_number              IS 'The page of the chunk that it came in, from 1.';
COMMENT ON COLUMN raw.{table}.page_size                IS 'MAXRESULTS of the request that brought it (Intuit''s cap is 1000).';
COMMENT ON COLUMN raw.{table}.request_payload          IS 'The request that brought it: method, path, minorversion, query, and include where it was sent. Never a token.';
COMMENT ON COLUMN raw.{table}.last_updated_utc         IS 'MetaData.LastUpdatedTime as an instant: the merge keeps the newest version.';
COMMENT ON COLUMN raw.{table}.sync_token               IS 'SyncToken as a number: it tells which of two versions is newer, and LastUpdatedTime where it stayed.';
COMMENT ON COLUMN raw.{table}.run_id                   IS 'The run in ops.runs that wrote this version.';
COMMENT ON COLUMN raw.{table}.deleted_at_utc           IS 'When the record was found deleted in QuickBooks (UTC); its last payload is kept. Null while it lives.';
COMMENT ON COLUMN raw.{table}.created_utc              IS 'MetaData.CreateTime as an instant, so that no check opens the payload. Null: the payload has none, or digest is null.';
COMMENT ON COLUMN raw.{table}.txn_date                 IS 'TxnDate as a date, likewise.';
COMMENT ON COLUMN raw.{table}.totals                   IS 'The payload''s TotalAmt, Balance and CurrencyRef, so that control totals don''t open it. Null: it has no TotalAmt, or digest is null.';
COMMENT ON COLUMN raw.{table}.digest                   IS 'The first 16 bytes of the SHA-256 of the record as Intuit sent it: an unchanged one isn''t sent here again. Null when another hand wrote or changed the row.';

-- A digest says that the row is as this program read it. Where another hand brings or changes a row, it is taken away, so
-- that checks open this payload and the next reading compares it, and the day of its CreateTime is noted, as it is where a
-- row is deleted. The program's sessions say that they write. AFTER INSERT, since COPY inserts row by row where there is a
-- trigger BEFORE it. A function for each table, since each table's owner makes it; as the owner, since who may insert need
-- not be let update.
CREATE OR REPLACE FUNCTION raw.{table}_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    days date[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.digest := NULL;
        NEW.created_utc := NULL;
        NEW.txn_date := NULL;
        NEW.totals := NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        days := days || (SELECT {created_day} FROM (SELECT OLD.*) AS row);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        days := days || ops.created_day(NEW.payload);
    END IF;
    INSERT INTO ops.changed_days (raw_schema, table_name, created_day)
    SELECT split_part('raw.{table}', '.', 1), split_part('raw.{table}', '.', 2), day FROM unnest(days) AS day
    ON CONFLICT DO NOTHING;
    IF TG_OP = 'INSERT' AND num_nonnulls(NEW.digest, NEW.created_utc, NEW.txn_date, NEW.totals) > 0 THEN
        UPDATE raw.{table} SET digest = NULL, created_utc = NULL, txn_date = NULL, totals = NULL WHERE id = NEW.id;
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
COMMENT ON FUNCTION raw.{table}_changed() IS 'Takes away the digest of a row that another hand brings or changes, and notes its day.';

CREATE OR REPLACE TRIGGER changed BEFORE UPDATE OR DELETE ON raw.{table} FOR EACH ROW
WHEN (current_setting('qbo_backfill.writes', true) IS DISTINCT FROM 'on' OR pg_trigger_depth() > 0)
EXECUTE FUNCTION raw.{table}_changed();

CREATE OR REPLACE TRIGGER brought AFTER INSERT ON raw.{table} FOR EACH ROW
WHEN (current_setting('qbo_backfill.writes', true) IS DISTINCT FROM 'on' OR pg_trigger_depth() > 0)
EXECUTE FUNCTION raw.{table}_changed();

-- lz4 costs about a third of pglz's time; not every server is built with it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE raw.{table} ALTER COLUMN payload SET COMPRESSION lz4;
    END IF;
END $$;
