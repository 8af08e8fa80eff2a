-- Verification: runs that compare raw with QuickBooks, seals that show when raw was changed by another hand,
-- the volume of each day, and what happened during a run that its report must tell.

ALTER TABLE ops.runs DROP CONSTRAINT runs_mode_check;
ALTER TABLE ops.runs ADD CONSTRAINT runs_mode_check CHECK (mode IN ('resume', 'reprocess', 'retry', 'verify'));
COMMENT ON COLUMN ops.runs.mode IS 'resume (what is not done), reprocess (all again), retry (what failed) or verify (compared with QuickBooks; read again only to repair).';

ALTER TABLE ops.validations ADD COLUMN advice text NOT NULL DEFAULT '';
COMMENT ON COLUMN ops.validations.name     IS 'Which check it is; docs/validations.md explains each.';
COMMENT ON COLUMN ops.validations.message  IS 'The result in a sentence.';
COMMENT ON COLUMN ops.validations.advice   IS 'What to do about it, as a command where there is one; empty when there is nothing to do.';

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
COMMENT ON COLUMN ops.seals.table_name   IS 'qb_invoices, qb_customers or qb_items.';
COMMENT ON COLUMN ops.seals.created_day  IS 'The UTC day of MetaData.CreateTime; 1970-01-01 for records without one.';
COMMENT ON COLUMN ops.seals.rows         IS 'How many rows there were of that day.';
COMMENT ON COLUMN ops.seals.hash         IS 'The sum of hashtextextended over each row''s id, payload, version and time of deletion; order doesn''t matter.';
COMMENT ON COLUMN ops.seals.updated_from IS 'The earliest LastUpdatedTime among them.';
COMMENT ON COLUMN ops.seals.updated_to   IS 'The latest one.';
COMMENT ON COLUMN ops.seals.run_id       IS 'The run that sealed it.';
COMMENT ON COLUMN ops.seals.sealed_at    IS 'When (UTC).';

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

CREATE TABLE ops.events (
    event_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint      NOT NULL REFERENCES ops.runs,
    happened_at timestamptz NOT NULL,
    code        text        NOT NULL,
    name        text        NOT NULL,
    phase       text        NOT NULL CHECK (phase IN ('auth', 'plan', 'extract', 'load', 'validate', 'report')),
    level       text        NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    message     text        NOT NULL,
    fields      jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX events_run ON ops.events (run_id);
COMMENT ON TABLE  ops.events IS 'What a run met that its report must tell: retries, throttles, the breaker, refreshed tokens, failed chunks. Ordinary progress is not kept.';
COMMENT ON COLUMN ops.events.event_id    IS 'The entry''s number.';
COMMENT ON COLUMN ops.events.run_id      IS 'The run.';
COMMENT ON COLUMN ops.events.happened_at IS 'When (UTC).';
COMMENT ON COLUMN ops.events.code        IS 'QBF-...; docs/error-codes.md says what each means and what to do.';
COMMENT ON COLUMN ops.events.name        IS 'The event''s name in the code, stable.';
COMMENT ON COLUMN ops.events.phase       IS 'auth, plan, extract, load, validate or report.';
COMMENT ON COLUMN ops.events.level       IS 'debug, info, warning or error.';
COMMENT ON COLUMN ops.events.message     IS 'What happened, for people. No secrets.';
COMMENT ON COLUMN ops.events.fields      IS 'The figures behind it, with intuit_tid where Intuit gave one.';

-- The date of a row that a filter field is about. A TxnDate is a date and counts as its UTC midnight.
CREATE FUNCTION ops.moment(filter_field text, last_updated timestamptz, payload jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE filter_field
           WHEN 'last_updated' THEN last_updated
           WHEN 'created' THEN (payload #>> '{MetaData,CreateTime}')::timestamptz
           WHEN 'txn_date' THEN (payload ->> 'TxnDate')::timestamp AT TIME ZONE 'UTC'
           END
$$;
COMMENT ON FUNCTION ops.moment(text, timestamptz, jsonb) IS 'The date of a row that a filter field is about: last_updated, created or txn_date, as a UTC instant.';

CREATE FUNCTION ops.created_day(payload jsonb) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(((payload #>> '{MetaData,CreateTime}')::timestamptz AT TIME ZONE 'UTC')::date, '1970-01-01')
$$;
COMMENT ON FUNCTION ops.created_day(jsonb) IS 'The UTC day of a record''s MetaData.CreateTime; 1970-01-01 when it has none.';

-- One figure for a row: any change of its payload, its version or its mark of deletion changes it.
CREATE FUNCTION ops.row_hash(id text, payload jsonb, last_updated timestamptz, sync_token bigint, deleted boolean)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT hashtextextended(
        concat_ws('|', id, payload::text, extract(epoch FROM last_updated), sync_token, deleted), 0)
$$;
COMMENT ON FUNCTION ops.row_hash(text, jsonb, timestamptz, bigint, boolean) IS 'A 64-bit hash of what a row of raw says. It shows accidents and careless hands, not a forger.';
