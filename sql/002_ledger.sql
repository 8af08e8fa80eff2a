-- The ledger: what was asked for (runs), what it was cut into (chunks), and each try at a chunk (attempts).

CREATE TABLE ops.company (
    raw_schema    text        PRIMARY KEY,
    realm_id      text        NOT NULL UNIQUE CHECK (realm_id <> ''),
    environment   text        NOT NULL CHECK (environment IN ('sandbox', 'production', 'simulator')),
    first_seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  ops.company IS 'Which QuickBooks company fills a raw schema. Ids are unique only within a company, so a second company in the same schema is refused.';
COMMENT ON COLUMN ops.company.raw_schema    IS 'The schema, raw unless a profile names another.';
COMMENT ON COLUMN ops.company.realm_id      IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.company.environment   IS 'sandbox, production or simulator: the same realm id means another company in each.';
COMMENT ON COLUMN ops.company.first_seen_at IS 'When the first run for this company began (UTC).';

CREATE TABLE ops.runs (
    run_id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    realm_id      text        NOT NULL,
    entity        text        NOT NULL,
    filter_field  text        NOT NULL CHECK (filter_field IN ('last_updated', 'created', 'txn_date')),
    mode          text        NOT NULL CHECK (mode IN ('resume', 'reprocess', 'retry', 'verify')),
    range_start   timestamptz NOT NULL,
    range_end     timestamptz NOT NULL,
    chunk         text        NOT NULL,
    concurrency   smallint    NOT NULL CHECK (concurrency BETWEEN 1 AND 10),
    status        text        NOT NULL DEFAULT 'planning'
                  CHECK (status IN ('planning', 'running', 'done', 'incomplete', 'failed')),
    as_of         timestamptz,
    edits_since   timestamptz,
    deletions_since timestamptz,
    source_count  bigint      CHECK (source_count >= 0),
    requests_sent bigint      NOT NULL DEFAULT 0,
    requests_retried   bigint NOT NULL DEFAULT 0,
    requests_throttled bigint NOT NULL DEFAULT 0,
    error         text,
    settings      jsonb       NOT NULL DEFAULT '{}',
    backend_pid   integer,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    CHECK (range_start < range_end)
);
COMMENT ON TABLE  ops.runs IS 'One execution for one entity: its parameters, its end, what it cost.';
COMMENT ON COLUMN ops.runs.run_id       IS 'The run''s number, in every log line and report.';
COMMENT ON COLUMN ops.runs.realm_id     IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.runs.entity       IS 'One of docs/entities.md, invoices for one.';
COMMENT ON COLUMN ops.runs.filter_field IS 'The date that the range is about: last_updated, created or txn_date.';
COMMENT ON COLUMN ops.runs.mode         IS 'resume (what is not done), reprocess (all again), retry (what failed) or verify (compared with QuickBooks; read again only to repair).';
COMMENT ON COLUMN ops.runs.range_start  IS 'First instant of the range asked for (UTC, inclusive).';
COMMENT ON COLUMN ops.runs.range_end    IS 'End of the range asked for (UTC, exclusive).';
COMMENT ON COLUMN ops.runs.chunk        IS 'How the range was to be cut: auto, day, week or an ISO 8601 duration.';
COMMENT ON COLUMN ops.runs.concurrency  IS 'Chunks fetched at once, 1 to 10.';
COMMENT ON COLUMN ops.runs.status       IS 'planning, running, done (ops.owed names nothing), incomplete (resumable) or failed (needs a person).';
COMMENT ON COLUMN ops.runs.as_of        IS 'QuickBooks'' clock when the run began. Done says: as of some moment after this one.';
COMMENT ON COLUMN ops.runs.edits_since  IS 'The run has read every record of its range that was edited between this moment and as_of; null until its catch-up is done.';
COMMENT ON COLUMN ops.runs.deletions_since IS 'The run has marked every record of its range that was deleted between this moment and as_of; null until it is known.';
COMMENT ON COLUMN ops.runs.source_count IS 'COUNT(*) of what was still to be read, as Intuit gave it at as_of; null when nothing was left to plan.';
COMMENT ON COLUMN ops.runs.requests_sent      IS 'Requests sent to the query endpoint; each is metered by Intuit.';
COMMENT ON COLUMN ops.runs.requests_retried   IS 'How many of them were second or later tries.';
COMMENT ON COLUMN ops.runs.requests_throttled IS 'How many were answered 429.';
COMMENT ON COLUMN ops.runs.error        IS 'Why the run ended as it did, in one line; null when it is done.';
COMMENT ON COLUMN ops.runs.settings     IS 'Versions and settings of the run, for the report. No secrets.';
COMMENT ON COLUMN ops.runs.backend_pid   IS 'The Postgres backend of a process that works on the run, and holds its lock; null between two stages, each of which may be a process of its own.';
COMMENT ON COLUMN ops.runs.started_at   IS 'When the run began (UTC).';
COMMENT ON COLUMN ops.runs.finished_at  IS 'When it ended (UTC); null while it works or after a kill.';

CREATE TABLE ops.chunks (
    chunk_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    realm_id      text        NOT NULL,
    entity        text        NOT NULL,
    filter_field  text        NOT NULL CHECK (filter_field IN ('last_updated', 'created', 'txn_date')),
    kind          text        NOT NULL CHECK (kind IN ('window', 'catch_up')),
    window_start  timestamptz NOT NULL,
    window_end    timestamptz,
    range_start   timestamptz NOT NULL,
    range_end     timestamptz NOT NULL,
    status        text        NOT NULL DEFAULT 'planned'
                  CHECK (status IN ('planned', 'running', 'done', 'failed', 'superseded')),
    expected_rows bigint      CHECK (expected_rows >= 0),
    attempt       integer     NOT NULL DEFAULT 0,
    as_of         timestamptz NOT NULL,
    edits_known_until     timestamptz,
    deletions_known_until timestamptz,
    error         text,
    intuit_tid    text,
    planned_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at       timestamptz,
    CHECK (window_end IS NULL OR window_start <= window_end),
    CHECK (kind = 'catch_up' OR window_end IS NOT NULL),
    CHECK ((status = 'done') = (done_at IS NOT NULL))
);
CREATE UNIQUE INDEX chunks_window ON ops.chunks (realm_id, entity, filter_field, window_start, window_end)
    WHERE kind = 'window' AND status <> 'superseded';

COMMENT ON TABLE  ops.chunks IS 'The ledger: one window of a backfill, the unit of load, retry, resume and metrics (tramo in Spanish texts).';
COMMENT ON COLUMN ops.chunks.chunk_id      IS 'The chunk''s number.';
COMMENT ON COLUMN ops.chunks.realm_id      IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.chunks.entity        IS 'One of docs/entities.md, invoices for one.';
COMMENT ON COLUMN ops.chunks.filter_field  IS 'The date that the window is about.';
COMMENT ON COLUMN ops.chunks.kind          IS 'window: a part of the range. catch_up: a run''s last chunk, all that was edited since the earliest moment from which edits are owed.';
COMMENT ON COLUMN ops.chunks.window_start  IS 'Start of the window (UTC, inclusive).';
COMMENT ON COLUMN ops.chunks.window_end    IS 'End of the window (UTC, exclusive); a catch-up chunk gets it when it is done.';
COMMENT ON COLUMN ops.chunks.range_start   IS 'Start of the range that the chunk was planned for.';
COMMENT ON COLUMN ops.chunks.range_end     IS 'End of the range that the chunk was planned for.';
COMMENT ON COLUMN ops.chunks.status        IS 'planned, running, done, failed, or superseded: by a plan that cut the range anew, or where another worker took over the far part of its window.';
COMMENT ON COLUMN ops.chunks.expected_rows IS 'Rows of the window by Intuit''s COUNT(*) when it was planned, and by their places where its far part was taken over; null where it was not asked.';
COMMENT ON COLUMN ops.chunks.attempt       IS 'How often the chunk was begun; a worker with an older number has lost it and writes nothing.';
COMMENT ON COLUMN ops.chunks.as_of         IS 'QuickBooks'' clock when the chunk was planned: since then, edits and deletions of its records are owed, until the next two say otherwise.';
COMMENT ON COLUMN ops.chunks.edits_known_until     IS 'Edits of the window''s records up to this moment of QuickBooks'' clock are in raw; null until a catch-up has followed its reading.';
COMMENT ON COLUMN ops.chunks.deletions_known_until IS 'Deletions of the window''s records up to this moment of QuickBooks'' clock are marked; null until they were asked for after its reading.';
COMMENT ON COLUMN ops.chunks.error         IS 'Why the last attempt failed, in one line.';
COMMENT ON COLUMN ops.chunks.intuit_tid    IS 'Intuit''s transaction id of the failure, for their support.';
COMMENT ON COLUMN ops.chunks.planned_at    IS 'When the chunk was planned (UTC).';
COMMENT ON COLUMN ops.chunks.done_at       IS 'When its last page was merged (UTC).';

CREATE TABLE ops.run_chunks (
    run_id   bigint NOT NULL REFERENCES ops.runs,
    chunk_id bigint NOT NULL REFERENCES ops.chunks,
    PRIMARY KEY (run_id, chunk_id)
);
CREATE INDEX run_chunks_chunk ON ops.run_chunks (chunk_id);
COMMENT ON TABLE  ops.run_chunks IS 'Which chunks a run set out to do. Two runs of one range share chunks.';
COMMENT ON COLUMN ops.run_chunks.run_id   IS 'The run.';
COMMENT ON COLUMN ops.run_chunks.chunk_id IS 'A chunk it set out to do.';

CREATE TABLE ops.attempts (
    chunk_id      bigint      NOT NULL REFERENCES ops.chunks,
    attempt       integer     NOT NULL CHECK (attempt >= 1),
    run_id        bigint      NOT NULL REFERENCES ops.runs,
    outcome       text        CHECK (outcome IN ('done', 'failed', 'released')),
    pages         integer     NOT NULL DEFAULT 0,
    requests      integer     NOT NULL DEFAULT 0,
    retries       integer     NOT NULL DEFAULT 0,
    throttled     integer     NOT NULL DEFAULT 0,
    rows_read     bigint      NOT NULL DEFAULT 0,
    rows_inserted bigint      NOT NULL DEFAULT 0,
    rows_updated  bigint      NOT NULL DEFAULT 0,
    rows_unchanged   bigint   NOT NULL DEFAULT 0,
    rows_quarantined bigint   NOT NULL DEFAULT 0,
    bytes_read    bigint      NOT NULL DEFAULT 0,
    wait_seconds  double precision NOT NULL DEFAULT 0,
    fetch_seconds double precision NOT NULL DEFAULT 0,
    split_seconds double precision NOT NULL DEFAULT 0,
    copy_seconds  double precision NOT NULL DEFAULT 0,
    merge_seconds double precision NOT NULL DEFAULT 0,
    overlapped_seconds double precision NOT NULL DEFAULT 0,
    error         text,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    PRIMARY KEY (chunk_id, attempt)
);
CREATE INDEX attempts_run ON ops.attempts (run_id);
COMMENT ON TABLE  ops.attempts IS 'Each try at a chunk with its metrics, written with each page, so that a killed attempt still says what it did.';
COMMENT ON COLUMN ops.attempts.chunk_id         IS 'The chunk.';
COMMENT ON COLUMN ops.attempts.attempt          IS '1 for the first try.';
COMMENT ON COLUMN ops.attempts.run_id           IS 'The run that tried.';
COMMENT ON COLUMN ops.attempts.outcome          IS 'done, failed, released (stopped on purpose, to be resumed), or null: at work or killed.';
COMMENT ON COLUMN ops.attempts.pages            IS 'Pages loaded.';
COMMENT ON COLUMN ops.attempts.requests         IS 'Requests sent, retries included.';
COMMENT ON COLUMN ops.attempts.retries          IS 'Requests that were second or later tries.';
COMMENT ON COLUMN ops.attempts.throttled        IS 'Answers with status 429.';
COMMENT ON COLUMN ops.attempts.rows_read        IS 'Distinct records read.';
COMMENT ON COLUMN ops.attempts.rows_inserted    IS 'Records new to raw.';
COMMENT ON COLUMN ops.attempts.rows_updated     IS 'Records that replaced an older version in raw.';
COMMENT ON COLUMN ops.attempts.rows_unchanged   IS 'Records that raw already had; nothing was written for them.';
COMMENT ON COLUMN ops.attempts.rows_quarantined IS 'Records that Postgres can''t hold, or that have no Id: whole in ops.quarantine.';
COMMENT ON COLUMN ops.attempts.bytes_read       IS 'Bytes of the answers'' bodies, uncompressed.';
COMMENT ON COLUMN ops.attempts.wait_seconds     IS 'The worker stood still for the budget, the breaker or a pause.';
COMMENT ON COLUMN ops.attempts.fetch_seconds    IS 'The worker stood still for Intuit''s answers and reading them.';
COMMENT ON COLUMN ops.attempts.split_seconds    IS 'The worker stood still while a page was cut into records.';
COMMENT ON COLUMN ops.attempts.copy_seconds     IS 'COPY: new records into raw, those that raw knows into staging.';
COMMENT ON COLUMN ops.attempts.merge_seconds    IS 'INSERT ... ON CONFLICT into raw, and the commit.';
COMMENT ON COLUMN ops.attempts.overlapped_seconds IS 'Waiting, fetching and splitting that went on while the page before was loaded: not in the other figures.';
COMMENT ON COLUMN ops.attempts.error            IS 'Why it failed, in one line.';
COMMENT ON COLUMN ops.attempts.started_at       IS 'When it began (UTC).';
COMMENT ON COLUMN ops.attempts.finished_at      IS 'When it ended (UTC); null after a kill.';

-- The catch-up chunk comes last: it may begin only when every window of its range is done, since a row
-- edited before its window is read leaves that window and is found only by a catch-up that begins later.
CREATE FUNCTION ops.may_begin(chunk ops.chunks) RETURNS boolean
LANGUAGE sql STABLE
RETURN (chunk).kind = 'window' OR NOT EXISTS (
    SELECT FROM ops.chunks w
     WHERE w.realm_id = (chunk).realm_id AND w.entity = (chunk).entity AND w.filter_field = (chunk).filter_field
       AND w.kind = 'window' AND w.status NOT IN ('done', 'superseded')
       AND w.window_start >= (chunk).range_start AND w.window_end <= (chunk).range_end);
COMMENT ON FUNCTION ops.may_begin(ops.chunks) IS 'Whether nothing stands before a chunk: a catch-up waits for each window of its range.';

-- Begin the next chunk of a run, or return no row when none is free.
-- A chunk is held by a session's advisory lock, so a killed worker's chunk is free at once, by itself;
-- a chunk that is 'running' while nobody holds its lock is such an orphan and is begun again.
-- Windows that another run has planned meanwhile where this run's catch-up has to wait for them are this run's, too, once
-- nothing else is left: it waits for them, or reads them.
CREATE FUNCTION ops.claim_chunk(this_run bigint) RETURNS SETOF ops.chunks
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    candidate bigint;
    taken ops.chunks;
BEGIN
    INSERT INTO ops.run_chunks (run_id, chunk_id)
    SELECT this_run, w.chunk_id
      FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
      JOIN ops.chunks w ON w.realm_id = c.realm_id AND w.entity = c.entity AND w.filter_field = c.filter_field
                       AND w.kind = 'window' AND w.status IN ('planned', 'running')
                       AND w.window_start >= c.range_start AND w.window_end <= c.range_end
     WHERE r.run_id = this_run AND c.kind = 'catch_up' AND c.status IN ('planned', 'running')
       AND NOT EXISTS (SELECT FROM ops.run_chunks o JOIN ops.chunks x USING (chunk_id)
                        WHERE o.run_id = this_run AND x.kind = 'window' AND x.status IN ('planned', 'running'))
    ON CONFLICT DO NOTHING;
    IF FOUND THEN  -- these may have been planned earlier, and what was edited since then is to be caught up with
        UPDATE ops.chunks c
           SET window_start = least(c.window_start, w.known - ops.settling_time())
          FROM (SELECT min(coalesce(x.edits_known_until, x.as_of)) AS known
                  FROM ops.run_chunks r JOIN ops.chunks x USING (chunk_id)
                 WHERE r.run_id = this_run AND x.kind = 'window' AND x.status IN ('planned', 'running')) AS w,
               ops.run_chunks r
         WHERE r.run_id = this_run AND r.chunk_id = c.chunk_id AND c.kind = 'catch_up' AND c.status = 'planned';
    END IF;
    FOR candidate IN
        SELECT c.chunk_id
          FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
         WHERE r.run_id = this_run AND c.status IN ('planned', 'running')
           AND ops.may_begin(c)
         ORDER BY c.kind = 'catch_up', c.window_start
    LOOP
        CONTINUE WHEN NOT pg_try_advisory_lock(hashtext('ops.chunks'), candidate::int);
        UPDATE ops.chunks c
           SET status = 'running', attempt = c.attempt + 1, error = NULL, intuit_tid = NULL
         WHERE c.chunk_id = (SELECT chunk_id FROM ops.chunks
                              WHERE chunk_id = candidate AND status IN ('planned', 'running')
                                FOR UPDATE SKIP LOCKED)
        RETURNING c.* INTO taken;
        IF FOUND THEN
            INSERT INTO ops.attempts (chunk_id, attempt, run_id)
            VALUES (taken.chunk_id, taken.attempt, this_run);
            RETURN NEXT taken;
            RETURN;
        END IF;
        PERFORM pg_advisory_unlock(hashtext('ops.chunks'), candidate::int);
    END LOOP;
END $$;
COMMENT ON FUNCTION ops.claim_chunk(bigint) IS 'Begins the next free chunk of a run and holds it by a session advisory lock; no row when none is free.';

-- An idle worker takes over the far part of a window that is being read: in one transaction the holder's chunk ends at
-- the cut, and what is beyond is a chunk of this session's, of each run that has the holder's. Whatever the holder still
-- reads beyond the cut, the window that it marks done ends there. The part is owed what the whole was: as_of and the
-- moments that edits and deletions are known until are the whole's. A kill leaves two chunks to be begun again.
-- The whole stays in the ledger as superseded, since rows that were read by then say that it was their window.
-- No row where the holder has ended or is another by now, or where somebody plans, who may have read the chunk as it was.
CREATE FUNCTION ops.take_over(holder bigint, holder_attempt integer, cut timestamptz, rows_before bigint,
                              this_run bigint, asked_for interval) RETURNS SETOF ops.chunks
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whole ops.chunks;
    taken ops.chunks;
BEGIN
    SELECT * INTO whole FROM ops.chunks c
     WHERE c.chunk_id = holder AND c.attempt = holder_attempt AND c.kind = 'window' AND c.status = 'running'
       AND c.window_start < cut AND cut < c.window_end
       FOR NO KEY UPDATE;
    IF NOT FOUND
       OR NOT pg_try_advisory_xact_lock_shared(hashtext('ops.planning'), hashtext(whole.realm_id || '/' || whole.entity))
    THEN
        RETURN;
    END IF;
    UPDATE ops.chunks SET window_end = cut, expected_rows = greatest(rows_before, 0) WHERE chunk_id = holder;
    INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end, range_start, range_end, status,
                            expected_rows, as_of, edits_known_until, deletions_known_until, planned_at)
    VALUES (whole.realm_id, whole.entity, whole.filter_field, 'window', whole.window_start, whole.window_end,
            whole.range_start, whole.range_end, 'superseded', whole.expected_rows, whole.as_of,
            whole.edits_known_until, whole.deletions_known_until, whole.planned_at);
    INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end, range_start, range_end, status,
                            attempt, expected_rows, as_of, edits_known_until, deletions_known_until, planned_at)
    VALUES (whole.realm_id, whole.entity, whole.filter_field, 'window', cut, whole.window_end,
            whole.range_start, whole.range_end, 'running', 1, greatest(whole.expected_rows - rows_before, 0), whole.as_of,
            whole.edits_known_until, whole.deletions_known_until, whole.planned_at)
    RETURNING * INTO taken;
    PERFORM pg_advisory_lock(hashtext('ops.chunks'), taken.chunk_id::int);
    INSERT INTO ops.run_chunks (run_id, chunk_id)
    SELECT x.run_id, taken.chunk_id FROM ops.run_chunks x WHERE x.chunk_id = holder;
    INSERT INTO ops.attempts (chunk_id, attempt, run_id, started_at)
    VALUES (taken.chunk_id, 1, this_run, clock_timestamp() - asked_for);
    RETURN NEXT taken;
END $$;
COMMENT ON FUNCTION ops.take_over(bigint, integer, timestamptz, bigint, bigint, interval) IS 'Ends a window that is being read at a cut, and begins what is beyond as a chunk of this session; no row where that can''t be.';

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
    last_seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at   timestamptz
);
-- Records of which neither Id nor bytes are known are told apart by their chunks alone.
CREATE UNIQUE INDEX quarantine_record ON ops.quarantine
    (realm_id, entity, coalesce(record_id, ''), record_sha256, (CASE WHEN record_id IS NULL AND record IS NULL THEN chunk_id ELSE 0 END))
    WHERE resolved_at IS NULL;
COMMENT ON TABLE  ops.quarantine IS 'Records that Postgres refuses (\u0000, a lone surrogate), that have no Id, or that Intuit can''t serve: kept whole with the reason; the rest of their page went on.';
COMMENT ON COLUMN ops.quarantine.quarantine_id  IS 'The entry''s number.';
COMMENT ON COLUMN ops.quarantine.realm_id       IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.quarantine.entity         IS 'One of docs/entities.md, invoices for one.';
COMMENT ON COLUMN ops.quarantine.record_id      IS 'The record''s Id, where it has one.';
COMMENT ON COLUMN ops.quarantine.reason         IS 'Why it is here, in one line.';
COMMENT ON COLUMN ops.quarantine.record         IS 'The record as Intuit sent it; null where Intuit could not send it.';
COMMENT ON COLUMN ops.quarantine.record_sha256  IS 'So that reading it again does not add it again.';
COMMENT ON COLUMN ops.quarantine.chunk_id       IS 'The chunk that met it last.';
COMMENT ON COLUMN ops.quarantine.run_id         IS 'The run that read it first.';
COMMENT ON COLUMN ops.quarantine.page_number    IS 'The page of that chunk.';
COMMENT ON COLUMN ops.quarantine.request_payload IS 'The request that brought it last: method, path, minorversion, query, and include where it was sent. Never a token.';
COMMENT ON COLUMN ops.quarantine.intuit_tid     IS 'Intuit''s transaction id of the answer, for their support.';
COMMENT ON COLUMN ops.quarantine.quarantined_at IS 'When it was set aside (UTC).';
COMMENT ON COLUMN ops.quarantine.last_seen_at   IS 'When it was met last (UTC): the whole window read again without it closes it.';
COMMENT ON COLUMN ops.quarantine.resolved_at    IS 'When the record arrived in raw, or was no longer there when its window was read again; null while it is open.';

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

CREATE FUNCTION ops.is_held(kind text, number bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_locks l
                    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                      AND l.classid::bigint = (hashtext(kind)::bigint & 4294967295)
                      AND l.objid::bigint = number);
$$;

-- Whose process is gone: nobody holds its lock, and no worker of it a chunk. Between two stages of a run nobody does; then
-- only a long silence tells. A lock, since a pooler keeps a dead process's backend for others. When the server has
-- restarted, living processes take some seconds to hold theirs again.
CREATE FUNCTION ops.is_gone(this_run ops.runs) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT this_run.finished_at IS NULL
       AND NOT ops.is_held('ops.runs', this_run.run_id)
       AND (this_run.started_at > pg_postmaster_start_time()
            OR pg_postmaster_start_time() < clock_timestamp() - interval '5 seconds')
       AND NOT EXISTS (SELECT FROM ops.attempts a
                        WHERE a.run_id = this_run.run_id AND a.finished_at IS NULL AND ops.is_held('ops.chunks', a.chunk_id))
       AND (this_run.backend_pid IS NOT NULL
            OR coalesce((SELECT max(coalesce(a.finished_at, a.started_at)) FROM ops.attempts a
                          WHERE a.run_id = this_run.run_id), this_run.started_at) < clock_timestamp() - interval '1 hour');
$$;

-- Late rows: QuickBooks' servers need not agree on what time it is, and a row may become visible after its
-- LastUpdatedTime. So no window is closed nearer than this to the present, and each catch-up begins this much earlier.
CREATE FUNCTION ops.settling_time() RETURNS interval
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT interval '5 minutes' $$;

-- QuickBooks' clock, or that of one answer, may have been ahead when it was asked. Between then and the present no more
-- time has passed than this server's clock says, so that the moment can't be later than that before the present.
CREATE FUNCTION ops.at_most(told timestamptz, told_at timestamptz, present timestamptz, present_at timestamptz)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN told IS NOT NULL THEN least(told, present - (present_at - told_at)) END  -- least() passes nulls over
$$;

-- A range's windows as they are known at a moment of QuickBooks' clock (`present`, at `present_at` by this server's).
CREATE FUNCTION ops.windows_known(realm text, of_entity text, field text, range_start timestamptz, range_end timestamptz,
                                  present timestamptz, present_at timestamptz)
RETURNS TABLE (status text, as_of timestamptz, edits_known_until timestamptz, deletions_known_until timestamptz,
               reached_ahead boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH told AS (SELECT r.as_of, min(r.started_at) AS at FROM ops.runs r WHERE r.realm_id = realm GROUP BY r.as_of)
    SELECT c.status, ops.at_most(c.as_of, c.planned_at, present, present_at),
           ops.at_most(c.edits_known_until, coalesce(e.at, c.planned_at), present, present_at),
           ops.at_most(c.deletions_known_until, coalesce(d.at, c.planned_at), present, present_at),
           field <> 'txn_date' AND c.window_end > present - (present_at - c.planned_at)
      FROM ops.chunks c LEFT JOIN told e ON e.as_of = c.edits_known_until LEFT JOIN told d ON d.as_of = c.deletions_known_until
     WHERE c.realm_id = realm AND c.entity = of_entity AND c.filter_field = field AND c.kind = 'window'
       AND c.status <> 'superseded' AND c.window_start < windows_known.range_end AND c.window_end > windows_known.range_start;
$$;

COMMENT ON FUNCTION ops.at_most(timestamptz, timestamptz, timestamptz, timestamptz) IS 'The latest that a moment of QuickBooks'' clock can have been, by the time that has passed since.';
COMMENT ON FUNCTION ops.windows_known(text, text, text, timestamptz, timestamptz, timestamptz, timestamptz) IS 'A range''s windows with the moments until when they are known, none later than it can have been; reached_ahead: read when it had not ended.';
COMMENT ON FUNCTION ops.is_gone(ops.runs) IS 'Whether an open run has no process any more that works on it.';
COMMENT ON FUNCTION ops.is_held(text, bigint) IS 'Whether a living process holds the lock of a row: of ops.runs, or a worker of ops.chunks.';
COMMENT ON FUNCTION ops.settling_time() IS 'How long rows may still come to a moment that is past, by QuickBooks'' clock.';
