-- Records that raw can't hold. Whole, as the bytes that Intuit sent.
CREATE TABLE ops.quarantine (
    quarantine_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    realm_id      text        NOT NULL,
    entity        text        NOT NULL,
    record_id     text,
    reason        text        NOT NULL CHECK (reason <> ''),
    record        bytea,
    record_sha256 bytea       GENERATED ALWAYS AS (sha256(coalesce(record, ''::bytea))) STORED,
    chunk_id      bigint      NOT NULL REFERENCES ops.chunks,
    run_id        bigint      NOT NULL REFERENCES ops.runs,
    page_number   integer     NOT NULL,
    request_payload jsonb     NOT NULL,
    intuit_tid    text,
    quarantined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at   timestamptz
);
CREATE UNIQUE INDEX quarantine_record ON ops.quarantine (realm_id, entity, coalesce(record_id, ''), record_sha256)
    WHERE resolved_at IS NULL;
COMMENT ON TABLE  ops.quarantine IS 'Records that Postgres refuses (\u0000, a lone surrogate), that have no Id, or that Intuit can''t serve: kept whole with the reason; the rest of their page went on.';
COMMENT ON COLUMN ops.quarantine.quarantine_id  IS 'The entry''s number.';
COMMENT ON COLUMN ops.quarantine.realm_id       IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.quarantine.entity         IS 'invoices, customers or items.';
COMMENT ON COLUMN ops.quarantine.record_id      IS 'The record''s Id, where it has one.';
COMMENT ON COLUMN ops.quarantine.reason         IS 'Why it is here, in one line.';
COMMENT ON COLUMN ops.quarantine.record         IS 'The record as Intuit sent it; null where Intuit could not send it.';
COMMENT ON COLUMN ops.quarantine.record_sha256  IS 'So that reading it again does not add it again.';
COMMENT ON COLUMN ops.quarantine.chunk_id       IS 'The chunk it came in.';
COMMENT ON COLUMN ops.quarantine.run_id         IS 'The run that read it first.';
COMMENT ON COLUMN ops.quarantine.page_number    IS 'The page of the chunk.';
COMMENT ON COLUMN ops.quarantine.request_payload IS 'The request that brought it: method, path, minorversion, query. Never a token.';
COMMENT ON COLUMN ops.quarantine.intuit_tid     IS 'Intuit''s transaction id of the answer, for their support.';
COMMENT ON COLUMN ops.quarantine.quarantined_at IS 'When it was set aside (UTC).';
COMMENT ON COLUMN ops.quarantine.resolved_at    IS 'When a later version of the record arrived in raw; null while it stands.';
