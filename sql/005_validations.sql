-- What was checked after a run, and what was found.
CREATE TABLE ops.validations (
    validation_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id        bigint      NOT NULL REFERENCES ops.runs,
    name          text        NOT NULL,
    severity      text        NOT NULL CHECK (severity IN ('ok', 'notice', 'warning', 'error')),
    message       text        NOT NULL,
    found         jsonb       NOT NULL DEFAULT '{}',
    checked_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX validations_run ON ops.validations (run_id);
COMMENT ON TABLE  ops.validations IS 'Each check of a run with its result, in words and in figures.';
COMMENT ON COLUMN ops.validations.validation_id IS 'The entry''s number.';
COMMENT ON COLUMN ops.validations.run_id     IS 'The run that was checked.';
COMMENT ON COLUMN ops.validations.name       IS 'keys, source_count, chunk_counts or utc.';
COMMENT ON COLUMN ops.validations.severity   IS 'ok, notice (worth knowing), warning (look at it) or error (rows are missing or wrong).';
COMMENT ON COLUMN ops.validations.message    IS 'The result in a sentence, with what to do.';
COMMENT ON COLUMN ops.validations.found      IS 'The figures behind it.';
COMMENT ON COLUMN ops.validations.checked_at IS 'When it was checked (UTC).';
