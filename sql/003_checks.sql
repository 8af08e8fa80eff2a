-- What was checked after a run, and what was found.
CREATE TABLE ops.validations (
    validation_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id        bigint      NOT NULL REFERENCES ops.runs,
    name          text        NOT NULL,
    severity      text        NOT NULL CHECK (severity IN ('ok', 'notice', 'warning', 'error')),
    message       text        NOT NULL,
    advice        text        NOT NULL DEFAULT '',
    found         jsonb       NOT NULL DEFAULT '{}',
    checked_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX validations_run ON ops.validations (run_id);
COMMENT ON TABLE  ops.validations IS 'Each check of a run with its result, in words and in figures.';
COMMENT ON COLUMN ops.validations.validation_id IS 'The entry''s number.';
COMMENT ON COLUMN ops.validations.run_id     IS 'The run that was checked.';
COMMENT ON COLUMN ops.validations.name       IS 'Which check it is; docs/validations.md explains each.';
COMMENT ON COLUMN ops.validations.severity   IS 'ok, notice (worth knowing), warning (look at it) or error (rows are missing or wrong).';
COMMENT ON COLUMN ops.validations.message    IS 'The result in a sentence.';
COMMENT ON COLUMN ops.validations.advice     IS 'What to do about it, as a command where there is one; empty when there is nothing to do.';
COMMENT ON COLUMN ops.validations.found      IS 'The figures behind it.';
COMMENT ON COLUMN ops.validations.checked_at IS 'When it was checked (UTC).';

CREATE TABLE ops.seals (
    raw_schema   text        NOT NULL,
    table_name   text        NOT NULL,
    created_day  date        NOT NULL,
    rows         bigint      NOT NULL CHECK (rows >= 0),
    hash         numeric     NOT NULL,
    updated_from timestamptz NOT NULL,
    updated_to   timestamptz NOT NULL,
    run_id       bigint      NOT NULL REFERENCES ops.runs,
    sealed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (raw_schema, table_name, created_day)
);
COMMENT ON TABLE  ops.seals IS 'What raw held when a run had finished with it, in one figure a day: rows that were changed since by another hand show without asking QuickBooks. By the day of CreateTime, which no edit changes.';
COMMENT ON COLUMN ops.seals.raw_schema   IS 'The schema, raw unless a profile names another.';
COMMENT ON COLUMN ops.seals.table_name   IS 'The table, qb_invoices for one.';
COMMENT ON COLUMN ops.seals.created_day  IS 'The UTC day of MetaData.CreateTime; 1970-01-01 for records without one.';
COMMENT ON COLUMN ops.seals.rows         IS 'How many rows there were of that day.';
COMMENT ON COLUMN ops.seals.hash         IS 'The sum of a 64-bit hash of each row: its id, digest (where it has none, payload), version, and whether it is marked deleted. Order doesn''t matter.';
COMMENT ON COLUMN ops.seals.updated_from IS 'The earliest LastUpdatedTime among them.';
COMMENT ON COLUMN ops.seals.updated_to   IS 'The latest one.';
COMMENT ON COLUMN ops.seals.run_id       IS 'The run that sealed it.';
COMMENT ON COLUMN ops.seals.sealed_at    IS 'When (UTC).';

CREATE TABLE ops.changed_days (
    raw_schema   text        NOT NULL,
    table_name   text        NOT NULL,
    created_day  date        NOT NULL,
    -- By whom: what a verification found confirmed, it forgets, and nothing that came later.
    transaction  xid8        NOT NULL DEFAULT pg_current_xact_id(),
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (raw_schema, table_name, created_day, transaction)
);
COMMENT ON TABLE  ops.changed_days IS 'Days on which rows were created that another hand has brought, changed or deleted. They stand here, whatever runs have written since, until a run or a verification has held each row of the day against QuickBooks.';
COMMENT ON COLUMN ops.changed_days.raw_schema  IS 'The schema, raw unless a profile names another.';
COMMENT ON COLUMN ops.changed_days.table_name  IS 'The table, qb_invoices for one.';
COMMENT ON COLUMN ops.changed_days.created_day IS 'The UTC day of MetaData.CreateTime; 1970-01-01 for records without one.';
COMMENT ON COLUMN ops.changed_days.transaction IS 'The transaction that changed them.';
COMMENT ON COLUMN ops.changed_days.changed_at  IS 'When (UTC).';

CREATE TABLE ops.daily_volume (
    run_id bigint NOT NULL REFERENCES ops.runs,
    day    date   NOT NULL,
    rows   bigint NOT NULL CHECK (rows > 0),
    PRIMARY KEY (run_id, day)
);
COMMENT ON TABLE  ops.daily_volume IS 'How many rows raw had of each UTC day of a run''s range, by the run''s filter field, when the run had ended. Days without rows are not listed.';
COMMENT ON COLUMN ops.daily_volume.run_id IS 'The run that measured it.';
COMMENT ON COLUMN ops.daily_volume.day    IS 'The day (UTC) of the run''s filter field.';
COMMENT ON COLUMN ops.daily_volume.rows   IS 'Rows of that day in raw, without those marked deleted.';

-- These have bodies that are parsed when they are made (RETURN): no search_path can give them another meaning, and
-- they are inlined, which a function with SET isn't.

-- Values of a record: null where the key is missing or holds something else than it should, and never an error, whatever
-- another hand has made of a payload.
CREATE FUNCTION ops.text_at(record jsonb, VARIADIC path text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(record #> path) WHEN 'string' THEN record #>> path END;
COMMENT ON FUNCTION ops.text_at(jsonb, text[]) IS 'The string at that path of a record; null when there is none.';

CREATE FUNCTION ops.number_at(record jsonb, VARIADIC path text[]) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(record #> path) WHEN 'number' THEN (record #> path)::numeric END;
COMMENT ON FUNCTION ops.number_at(jsonb, text[]) IS 'The number at that path of a record, with its scale; null when there is none.';

-- A sum of numbers that no company has would fail, or have thousands of digits.
CREATE FUNCTION ops.amount(number numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(number) >= 1e18 OR scale(number) > 9 THEN 'NaN' ELSE number END;
COMMENT ON FUNCTION ops.amount(numeric) IS 'The number, to be summed; NaN from a million million millions on and beyond nine decimals.';

CREATE FUNCTION ops.boolean_at(record jsonb, VARIADIC path text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(record #> path) WHEN 'boolean' THEN (record #> path)::boolean END;
COMMENT ON FUNCTION ops.boolean_at(jsonb, text[]) IS 'True or false at that path of a record; null when it is neither.';

-- 2023-02-30 has the form of a date and is none: what isn't sure to be one is left to datetime(), which can be silent.
-- Each body has its parameters alone as arguments, so that the planner can inline it. [0-9], (?: and LIKE are here for
-- speed; \d is other writings' digits, too.
CREATE FUNCTION ops.date_at(record jsonb, VARIADIC path text[]) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN record #>> path LIKE '0000%' THEN NULL
            WHEN record #>> path ~ '^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])$' THEN (record #>> path)::date
            WHEN record #>> path ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
            THEN (jsonb_path_query_first(record #> path, '$.datetime("YYYY-MM-DD")', silent => true) #>> '{}')::date END;
COMMENT ON FUNCTION ops.date_at(jsonb, text[]) IS 'The date at that path of a record; null when there is none.';

-- In the first and the last year an offset could lead out of what programs can hold.
CREATE FUNCTION ops.instant_at(record jsonb, VARIADIC path text[]) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN record #>> path LIKE ANY ('{0000%,0001%,9999%}') THEN NULL
            WHEN record #>> path !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$' THEN NULL
            WHEN record #>> path ~ '^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T' OR jsonb_path_query_first(
                 to_jsonb(left(record #>> path, 10)), '$.datetime("YYYY-MM-DD")', silent => true) IS NOT NULL
            THEN (record #>> path)::timestamptz END;
COMMENT ON FUNCTION ops.instant_at(jsonb, text[]) IS 'The moment at that path of a record, which needs an offset; null when there is none.';

-- Of a record that stands inside an object under its kind's name, the record's own.
CREATE FUNCTION ops.created(payload jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(ops.instant_at(payload, 'MetaData', 'CreateTime'),
                ops.instant_at(jsonb_path_query_first(payload, '$.*.MetaData'), 'CreateTime'));
COMMENT ON FUNCTION ops.created(jsonb) IS 'A record''s MetaData.CreateTime as an instant; null when it has none.';

-- The date of a row that a filter field is about. A TxnDate is a date and counts as its UTC midnight.
CREATE FUNCTION ops.moment(filter_field text, last_updated timestamptz, payload jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE filter_field
       WHEN 'last_updated' THEN last_updated
       WHEN 'created' THEN ops.created(payload)
       -- A TxnDate that is no date gives null: the row is in no window of TxnDates, and hinders no other.
       WHEN 'txn_date' THEN ops.date_at(payload, 'TxnDate')::timestamp AT TIME ZONE 'UTC'
       END;
COMMENT ON FUNCTION ops.moment(text, timestamptz, jsonb) IS 'The date of a row that a filter field is about: last_updated, created or txn_date, as a UTC instant.';

-- Another hand may have written infinity into a row of raw, or the year 20000.
CREATE FUNCTION ops.in_calendar(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN moment >= '0001-01-02T00:00Z' AND moment < '9999-12-31T00:00Z' THEN moment END;
COMMENT ON FUNCTION ops.in_calendar(timestamptz) IS 'The moment; null where a program can''t hold it, which is before the year 1 and after the year 9999.';

-- QuickBooks dates an edit by the clock of whichever server takes it, and a SyncToken only rises: a higher one is newer
-- whatever the time says. A change of balance moves the time alone.
CREATE FUNCTION ops.is_newer(last_updated timestamptz, sync_token bigint, than_updated timestamptz, than_token bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sync_token > than_token AND last_updated IS NOT NULL
    OR (coalesce(last_updated, '-infinity'), sync_token) > (coalesce(than_updated, '-infinity'), than_token);
COMMENT ON FUNCTION ops.is_newer(timestamptz, bigint, timestamptz, bigint) IS 'Whether a version of a record is newer than another: by SyncToken, and by LastUpdatedTime.';

-- A reference is {"value": ..., "name": ...}, which jsonb prints with the name first.
CREATE FUNCTION ops.without_reference_names(payload jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(payload::text, '\{"name": "(?:[^"\\]|\\.)*", ((?:"type": "(?:[^"\\]|\\.)*", )?"value": )', '{\1', 'g');
COMMENT ON FUNCTION ops.without_reference_names(jsonb) IS 'A record without the names inside its references: QuickBooks fills these in when it answers, so that they change without a new version.';

CREATE FUNCTION ops.created_day(payload jsonb) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((ops.created(payload) AT TIME ZONE 'UTC')::date, '1970-01-01');
COMMENT ON FUNCTION ops.created_day(jsonb) IS 'The UTC day of a record''s MetaData.CreateTime; 1970-01-01 when it has none.';

-- One figure for a row: any change of its payload, its version or its mark of deletion changes it.
CREATE FUNCTION ops.row_hash(id text, payload jsonb, last_updated timestamptz, sync_token bigint, deleted boolean)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN hashtextextended(
    concat_ws('|', id, payload::text, extract(epoch FROM last_updated), sync_token, deleted), 0);
COMMENT ON FUNCTION ops.row_hash(text, jsonb, timestamptz, bigint, boolean) IS 'A 64-bit hash of what a row of raw says. It shows accidents and careless hands, not a forger.';
