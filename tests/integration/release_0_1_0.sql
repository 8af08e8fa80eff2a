-- A database as version 0.1.0 made it (its eleven migrations), with a run of each kind in it.

CREATE SCHEMA ops;
CREATE TABLE ops.schema_versions (version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());

-- Two schemas: raw holds what Intuit sent, ops holds how it got here.
CREATE SCHEMA IF NOT EXISTS raw;


COMMENT ON SCHEMA raw IS 'QuickBooks Online records exactly as Intuit sent them, one table an entity, one row an Id.';
COMMENT ON SCHEMA ops IS 'How the records in raw got there: runs, chunks, attempts, quarantine, the shared budget.';

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (1, '001_schemas.sql', 'af0e2630816bdd6d9f4f8d45a971793331b7d546fe0b3c6aac7731c8189b6ace');

-- The ledger: what was asked for (runs), what it was cut into (chunks), and each try at a chunk (attempts).

CREATE TABLE ops.company (
    raw_schema    text        PRIMARY KEY,
    realm_id      text        NOT NULL CHECK (realm_id <> ''),
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
    mode          text        NOT NULL CHECK (mode IN ('resume', 'reprocess', 'retry')),
    range_start   timestamptz NOT NULL,
    range_end     timestamptz NOT NULL,
    chunk         text        NOT NULL,
    concurrency   smallint    NOT NULL CHECK (concurrency BETWEEN 1 AND 10),
    status        text        NOT NULL DEFAULT 'planning'
                  CHECK (status IN ('planning', 'running', 'done', 'incomplete', 'failed')),
    as_of         timestamptz,
    source_count  bigint      CHECK (source_count >= 0),
    requests_sent bigint      NOT NULL DEFAULT 0,
    requests_retried   bigint NOT NULL DEFAULT 0,
    requests_throttled bigint NOT NULL DEFAULT 0,
    error         text,
    settings      jsonb       NOT NULL DEFAULT '{}',
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    CHECK (range_start < range_end)
);
COMMENT ON TABLE  ops.runs IS 'One execution for one entity: its parameters, its end, what it cost.';
COMMENT ON COLUMN ops.runs.run_id       IS 'The run''s number, in every log line and report.';
COMMENT ON COLUMN ops.runs.realm_id     IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.runs.entity       IS 'invoices, customers or items.';
COMMENT ON COLUMN ops.runs.filter_field IS 'The date that the range is about: last_updated, created or txn_date.';
COMMENT ON COLUMN ops.runs.mode         IS 'resume (what is not done), reprocess (all again) or retry (what failed).';
COMMENT ON COLUMN ops.runs.range_start  IS 'First instant of the range asked for (UTC, inclusive).';
COMMENT ON COLUMN ops.runs.range_end    IS 'End of the range asked for (UTC, exclusive).';
COMMENT ON COLUMN ops.runs.chunk        IS 'How the range was to be cut: auto, day, week or an ISO 8601 duration.';
COMMENT ON COLUMN ops.runs.concurrency  IS 'Chunks fetched at once, 1 to 10.';
COMMENT ON COLUMN ops.runs.status       IS 'planning, running, done, incomplete (resumable) or failed (set-up or authorization).';
COMMENT ON COLUMN ops.runs.as_of        IS 'Intuit''s own clock when the range was planned: rows changed later are the catch-up chunk''s.';
COMMENT ON COLUMN ops.runs.source_count IS 'COUNT(*) of what was still to be read, as Intuit gave it at as_of; null when nothing was left to plan.';
COMMENT ON COLUMN ops.runs.requests_sent      IS 'Requests sent to the query endpoint; each is metered by Intuit.';
COMMENT ON COLUMN ops.runs.requests_retried   IS 'How many of them were second or later tries.';
COMMENT ON COLUMN ops.runs.requests_throttled IS 'How many were answered 429.';
COMMENT ON COLUMN ops.runs.error        IS 'Why the run ended as it did, in one line; null when it is done.';
COMMENT ON COLUMN ops.runs.settings     IS 'Versions and settings of the run, for the report. No secrets.';
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
CREATE UNIQUE INDEX chunks_catch_up ON ops.chunks (realm_id, entity, filter_field, range_start, range_end)
    WHERE kind = 'catch_up' AND status IN ('planned', 'running', 'failed');

COMMENT ON TABLE  ops.chunks IS 'The ledger: one window of a backfill, the unit of load, retry, resume and metrics (tramo in Spanish texts).';
COMMENT ON COLUMN ops.chunks.chunk_id      IS 'The chunk''s number.';
COMMENT ON COLUMN ops.chunks.realm_id      IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.chunks.entity        IS 'invoices, customers or items.';
COMMENT ON COLUMN ops.chunks.filter_field  IS 'The date that the window is about.';
COMMENT ON COLUMN ops.chunks.kind          IS 'window: a part of the range. catch_up: what was edited while the range was read, and so left it.';
COMMENT ON COLUMN ops.chunks.window_start  IS 'Start of the window (UTC, inclusive).';
COMMENT ON COLUMN ops.chunks.window_end    IS 'End of the window (UTC, exclusive); a catch-up chunk gets it when it is done.';
COMMENT ON COLUMN ops.chunks.range_start   IS 'Start of the range that the chunk was planned for.';
COMMENT ON COLUMN ops.chunks.range_end     IS 'End of the range that the chunk was planned for.';
COMMENT ON COLUMN ops.chunks.status        IS 'planned, running, done, failed, or superseded by a reprocess that cut the range anew.';
COMMENT ON COLUMN ops.chunks.expected_rows IS 'COUNT(*) of the window as Intuit gave it when it was planned; null where it was not asked.';
COMMENT ON COLUMN ops.chunks.attempt       IS 'How often the chunk was begun; a worker with an older number has lost it and writes nothing.';
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
COMMENT ON COLUMN ops.attempts.wait_seconds     IS 'Waiting for the budget, the breaker or a pause.';
COMMENT ON COLUMN ops.attempts.fetch_seconds    IS 'Waiting for Intuit''s answers and reading them.';
COMMENT ON COLUMN ops.attempts.split_seconds    IS 'Cutting pages into records.';
COMMENT ON COLUMN ops.attempts.copy_seconds     IS 'COPY into staging.';
COMMENT ON COLUMN ops.attempts.merge_seconds    IS 'INSERT ... ON CONFLICT into raw, and the commit.';
COMMENT ON COLUMN ops.attempts.error            IS 'Why it failed, in one line.';
COMMENT ON COLUMN ops.attempts.started_at       IS 'When it began (UTC).';
COMMENT ON COLUMN ops.attempts.finished_at      IS 'When it ended (UTC); null after a kill.';

-- Begin the next chunk of a run, or return no row when none is free.
-- A chunk is held by a session's advisory lock, so a killed worker's chunk is free at once, by itself;
-- a chunk that is 'running' while nobody holds its lock is such an orphan and is begun again.
-- The catch-up chunk comes last: it may begin only when every window of its range is done, since a row
-- edited before its window is read leaves that window and is found only by a catch-up that begins later.
CREATE FUNCTION ops.claim_chunk(this_run bigint) RETURNS SETOF ops.chunks
LANGUAGE plpgsql AS $$
DECLARE
    candidate bigint;
    taken ops.chunks;
BEGIN
    FOR candidate IN
        SELECT c.chunk_id
          FROM ops.run_chunks r JOIN ops.chunks c USING (chunk_id)
         WHERE r.run_id = this_run AND c.status IN ('planned', 'running')
           AND (c.kind = 'window' OR NOT EXISTS (
                SELECT FROM ops.chunks w
                 WHERE w.realm_id = c.realm_id AND w.entity = c.entity AND w.filter_field = c.filter_field
                   AND w.kind = 'window' AND w.status NOT IN ('done', 'superseded')
                   AND w.window_start >= c.range_start AND w.window_end <= c.range_end))
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

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (2, '002_ledger.sql', '258728d8c9db4785facb965e213277b2ac98ba39698eb77500510246f9a4f56d');

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

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (3, '003_quarantine.sql', 'cd58ec7aabce7f18ed2cb6385c97ae60c4d3f6d2a8505364665a021a003035e3');

-- One budget for a company, whatever number of processes and machines ask: Intuit counts per company.
--
-- Each request has a row in ops.turns: the moment from which it may be sent, by this server's clock, and the moment by
-- which it has surely arrived at Intuit, which is when its answer came back. A new turn is dated so that, whatever
-- the network did, no minute and no second can hold more arrivals than Intuit allows: of the turns that can have
-- arrived in the minute before it, there is always one fewer than the limit.

CREATE TABLE ops.budget (
    realm_id           text        PRIMARY KEY,
    next_slot_at       timestamptz NOT NULL DEFAULT '-infinity',
    paused_until       timestamptz NOT NULL DEFAULT '-infinity',
    slowdown           double precision NOT NULL DEFAULT 1 CHECK (slowdown >= 1),
    throttled_in_a_row integer     NOT NULL DEFAULT 0,
    pauses             bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE  ops.budget IS 'When a company may be asked next. Turns are handed out one after the other by this server''s clock.';
COMMENT ON COLUMN ops.budget.realm_id           IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.budget.next_slot_at       IS 'The next slot of the even pace. Slots that nobody used are made up for, up to five seconds'' worth.';
COMMENT ON COLUMN ops.budget.paused_until       IS 'After a 429 nobody asks before this moment.';
COMMENT ON COLUMN ops.budget.slowdown           IS 'How many times slower than the even pace: doubled by a 429, back to 1 turn by turn.';
COMMENT ON COLUMN ops.budget.throttled_in_a_row IS 'Pauses since QuickBooks last took a request; while it is not 0, one request at a time probes.';
COMMENT ON COLUMN ops.budget.pauses             IS 'How often the company was paused.';

CREATE TABLE ops.turns (
    turn_id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    realm_id      text        NOT NULL,
    moment        timestamptz NOT NULL,
    arrived_by    timestamptz NOT NULL DEFAULT 'infinity',
    backend_pid   integer     NOT NULL,
    backend_start timestamptz NOT NULL
);
CREATE INDEX turns_moment  ON ops.turns (realm_id, moment);
CREATE INDEX turns_arrived ON ops.turns (realm_id, arrived_by);
COMMENT ON TABLE  ops.turns IS 'The requests of the last minute, and those in flight. Whose holder''s backend is gone is in flight no longer than others were of late.';
COMMENT ON COLUMN ops.turns.turn_id       IS 'The turn.';
COMMENT ON COLUMN ops.turns.realm_id      IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.turns.moment        IS 'From when on the request may be sent.';
COMMENT ON COLUMN ops.turns.arrived_by    IS 'By when it has arrived at Intuit: when its answer was there; infinity while it is in flight.';
COMMENT ON COLUMN ops.turns.backend_pid   IS 'The holder''s Postgres backend; 0 when the holder went away from a request that may still be served.';
COMMENT ON COLUMN ops.turns.backend_start IS 'When that backend began, since pids come again.';

CREATE TABLE ops.waiting (
    realm_id      text        NOT NULL,
    backend_pid   integer     NOT NULL,
    backend_start timestamptz NOT NULL,
    ticket        bigint      GENERATED ALWAYS AS IDENTITY,
    asked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (realm_id, backend_pid)
);
COMMENT ON TABLE  ops.waiting IS 'Processes that wait for a place in flight: the one that came first is served first.';
COMMENT ON COLUMN ops.waiting.realm_id      IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.waiting.backend_pid   IS 'The waiting process''s Postgres backend.';
COMMENT ON COLUMN ops.waiting.backend_start IS 'When that backend began, since pids come again.';
COMMENT ON COLUMN ops.waiting.ticket        IS 'Its number in the queue.';
COMMENT ON COLUMN ops.waiting.asked_at      IS 'When it last asked: it does so every second, or it has left the queue.';

CREATE TABLE ops.usage (
    realm_id text   NOT NULL,
    month    date   NOT NULL CHECK (extract(day FROM month) = 1),
    requests bigint NOT NULL,
    PRIMARY KEY (realm_id, month)
);
COMMENT ON TABLE  ops.usage IS 'Requests sent for a company in a month (UTC): Intuit meters each, and the smallest tier ends at 500,000.';
COMMENT ON COLUMN ops.usage.realm_id IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.usage.month    IS 'The month''s first day.';
COMMENT ON COLUMN ops.usage.requests IS 'Requests sent in it, whatever their answers.';

CREATE FUNCTION ops.is_alive(pid integer, started timestamptz) RETURNS boolean
LANGUAGE sql AS $$
    -- The start of another role's backend is hidden from a role that may not monitor; the pid must do then.
    SELECT EXISTS (SELECT FROM pg_stat_get_activity(pid) a
                    WHERE pid <> 0 AND (a.backend_start IS NULL OR a.backend_start = started));
$$;
COMMENT ON FUNCTION ops.is_alive(integer, timestamptz) IS 'Whether the backend that began then is still there.';

CREATE FUNCTION ops.count_request(realm text, change integer) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ops.usage AS u (realm_id, month, requests)
    VALUES (realm, date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date, greatest(change, 0))
    ON CONFLICT (realm_id, month) DO UPDATE SET requests = greatest(u.requests + change, 0);
$$;
COMMENT ON FUNCTION ops.count_request(text, integer) IS 'Adds to the month''s requests, or takes away one that was not sent after all.';

-- Call it with the company's budget row locked.
CREATE FUNCTION ops.drop_turn(turn bigint, pace interval) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    realm text;
BEGIN
    DELETE FROM ops.turns WHERE turn_id = turn AND arrived_by = 'infinity' RETURNING realm_id INTO realm;
    IF FOUND THEN
        UPDATE ops.budget SET next_slot_at = next_slot_at - pace * slowdown WHERE realm_id = realm;
        PERFORM ops.count_request(realm, -1);
    END IF;
END $$;
COMMENT ON FUNCTION ops.drop_turn(bigint, interval) IS 'A turn that was not used: its slot and its place go to others.';

-- Call it with the company's budget row locked. A killed process's request goes on at Intuit: its place counts as taken
-- for as long as an answer took lately, and a quarter more; two seconds when nothing is known, 120 at the most, when
-- Intuit itself ends it. The same goes for a process that is there and was stopped (a suspended machine).
CREATE FUNCTION ops.clear_the_dead(realm text, pace interval) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    now_ timestamptz := clock_timestamp();
    dead ops.turns;
    longest interval;
BEGIN
    FOR dead IN SELECT * FROM ops.turns t
                 WHERE t.realm_id = realm AND t.arrived_by = 'infinity'
                   AND (NOT ops.is_alive(t.backend_pid, t.backend_start) OR t.moment < now_ - interval '150 s')
    LOOP
        IF dead.moment > now_ AND dead.backend_pid <> 0 THEN
            PERFORM ops.drop_turn(dead.turn_id, pace);
            CONTINUE;
        END IF;
        longest := coalesce(longest, (SELECT max(t.arrived_by - t.moment) FROM ops.turns t
                                       WHERE t.realm_id = realm AND t.arrived_by < 'infinity'), interval '2 s');
        longest := least(greatest(longest, interval '0.1 s'), interval '120 s');
        UPDATE ops.turns SET arrived_by = moment + longest
         WHERE turn_id = dead.turn_id AND moment + longest * 1.25 < now_;
    END LOOP;
    DELETE FROM ops.waiting w
     WHERE w.realm_id = realm
       AND (NOT ops.is_alive(w.backend_pid, w.backend_start) OR w.asked_at < now_ - interval '2 s');
END $$;
COMMENT ON FUNCTION ops.clear_the_dead(text, interval) IS 'Takes turns, places and tickets back from holders that are gone.';

-- The next turn and its moment, with this server's clock to compare; all null but the clock when every place is taken,
-- or kept for processes that came first: then this one is in the queue and is told by NOTIFY when to ask again.
-- `held` is a turn that could not be used in time, to be dated anew.
--
-- The moment is the latest of
--   now; the end of a pause; the next slot of the even pace;
--   nineteen twentieths of the pace after the last turn, so that lost slots are made up for without a burst;
--   60 s after the per_minute-th last request has arrived;
--   1 s after the per_second-th last has arrived. A request that has no answer yet counts as arrived `lateness` after
--   its moment: senders keep to that, and without it an answer that takes long would cost pace.
CREATE FUNCTION ops.take_turn(realm text, per_minute integer, per_second integer, places integer, lateness interval,
                              held bigint DEFAULT NULL,
                              OUT turn bigint, OUT moment timestamptz, OUT clock timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    pace CONSTANT interval := interval '60 s' / per_minute;
    budget ops.budget;
    free integer;
    started timestamptz;
    slot timestamptz;
BEGIN
    SELECT * INTO budget FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO ops.budget (realm_id) VALUES (realm) ON CONFLICT DO NOTHING;
    END IF;
    SELECT a.backend_start INTO started FROM pg_stat_get_activity(pg_backend_pid()) a;
    PERFORM ops.clear_the_dead(realm, pace);
    IF held IS NOT NULL THEN
        PERFORM ops.drop_turn(held, pace);
    END IF;
    SELECT * INTO budget FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    clock := clock_timestamp();

    IF budget.throttled_in_a_row > 0 THEN
        places := 1;
    END IF;
    SELECT places - count(*) INTO free FROM ops.turns t WHERE t.realm_id = realm AND t.arrived_by = 'infinity';
    IF free <= 0 OR (held IS NULL AND EXISTS (
            SELECT FROM ops.waiting w
             WHERE w.realm_id = realm AND w.backend_pid <> pg_backend_pid()
               AND w.ticket < coalesce((SELECT mine.ticket FROM ops.waiting mine
                                         WHERE mine.realm_id = realm AND mine.backend_pid = pg_backend_pid()), w.ticket + 1)))
    THEN
        INSERT INTO ops.waiting (realm_id, backend_pid, backend_start) VALUES (realm, pg_backend_pid(), started)
        ON CONFLICT ON CONSTRAINT waiting_pkey DO UPDATE SET asked_at = excluded.asked_at;
        RETURN;
    END IF;
    DELETE FROM ops.waiting w WHERE w.realm_id = realm AND w.backend_pid = pg_backend_pid();
    DELETE FROM ops.turns t WHERE t.realm_id = realm AND t.arrived_by < clock - interval '61 s';

    slot := greatest(budget.next_slot_at, budget.paused_until, clock - interval '5 s');
    moment := greatest(
        clock, slot,
        (SELECT max(t.moment) + pace * budget.slowdown * 0.95 FROM ops.turns t WHERE t.realm_id = realm),
        -- The hundredths are for clocks that are read one after the other.
        (SELECT t.arrived_by + interval '60.02 s' FROM ops.turns t
          WHERE t.realm_id = realm ORDER BY t.arrived_by DESC OFFSET per_minute - 1 LIMIT 1),
        (SELECT least(t.arrived_by, t.moment + lateness) + interval '1.02 s' FROM ops.turns t
          WHERE t.realm_id = realm AND t.moment > clock - interval '2 s' - lateness
          ORDER BY least(t.arrived_by, t.moment + lateness) DESC OFFSET per_second - 1 LIMIT 1));
    UPDATE ops.budget b
       SET next_slot_at = slot + pace * b.slowdown, slowdown = 1 + (b.slowdown - 1) * 0.97
     WHERE b.realm_id = realm;
    INSERT INTO ops.turns AS t (realm_id, moment, backend_pid, backend_start)
    VALUES (realm, take_turn.moment, pg_backend_pid(), started)
    RETURNING t.turn_id INTO turn;
    PERFORM ops.count_request(realm, 1);
    IF free > 1 THEN
        PERFORM ops.call_the_next(realm);
    END IF;
END $$;
COMMENT ON FUNCTION ops.take_turn(text, integer, integer, integer, interval, bigint) IS 'Hands out the company''s next turn and the moment from which it may be used; a null turn when no place in flight is free.';

-- `status` is the answer's HTTP status; 0 when the request failed without one, null when its sender went away from it
-- and Intuit may still be at it.
CREATE FUNCTION ops.end_turn(turn bigint, realm text, status integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
BEGIN
    PERFORM FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    IF status IS NULL THEN
        UPDATE ops.turns t SET backend_pid = 0 WHERE t.turn_id = turn;
        RETURN;
    END IF;
    UPDATE ops.turns t SET arrived_by = clock_timestamp()
     WHERE t.turn_id = turn AND t.arrived_by = 'infinity' RETURNING t.moment INTO began;
    IF status NOT IN (0, 429) THEN
        UPDATE ops.budget b SET throttled_in_a_row = 0
         WHERE b.realm_id = realm AND b.throttled_in_a_row > 0 AND began >= b.paused_until;
    END IF;
    PERFORM ops.call_the_next(realm);
END $$;
COMMENT ON FUNCTION ops.end_turn(bigint, text, integer) IS 'A request has been answered: its place goes to the process that has waited longest.';

CREATE FUNCTION ops.return_turn(turn bigint, realm text, per_minute integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    PERFORM ops.drop_turn(turn, interval '60 s' / per_minute);
    PERFORM ops.call_the_next(realm);
END $$;
COMMENT ON FUNCTION ops.return_turn(bigint, text, integer) IS 'A turn was not used: its slot and its place go to others.';

CREATE FUNCTION ops.call_the_next(realm text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('qbo_' || realm, 'place ' || w.backend_pid) FROM ops.waiting w
      WHERE w.realm_id = realm AND ops.is_alive(w.backend_pid, w.backend_start)
      ORDER BY w.ticket LIMIT 1;
END $$;
COMMENT ON FUNCTION ops.call_the_next(text) IS 'Tells the first in the queue that a place is free.';

CREATE FUNCTION ops.pause_company(realm text, seconds double precision) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    until CONSTANT timestamptz := clock_timestamp() + make_interval(secs => seconds);
    in_a_row integer;
BEGIN
    INSERT INTO ops.budget (realm_id) VALUES (realm) ON CONFLICT DO NOTHING;
    -- Several requests that were in flight together are throttled once. What was long ago is another story.
    UPDATE ops.budget b
       SET throttled_in_a_row = CASE WHEN b.paused_until > clock_timestamp() THEN greatest(b.throttled_in_a_row, 1)
                                     WHEN b.paused_until < clock_timestamp() - interval '10 min' THEN 1
                                     ELSE b.throttled_in_a_row + 1 END,
           pauses = b.pauses + CASE WHEN b.paused_until > clock_timestamp() THEN 0 ELSE 1 END,
           slowdown = CASE WHEN b.paused_until > clock_timestamp() THEN b.slowdown ELSE least(b.slowdown * 2, 8) END,
           paused_until = greatest(b.paused_until, until)
     WHERE b.realm_id = realm
    RETURNING b.throttled_in_a_row INTO in_a_row;
    PERFORM pg_notify('qbo_' || realm, 'pause');
    RETURN in_a_row;
END $$;
COMMENT ON FUNCTION ops.pause_company(text, double precision) IS 'After a 429: nobody gets a turn for so many seconds. Gives how many pauses there were since a request was last taken.';

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (4, '004_budget.sql', '6bc52f5c83e72bf86a40fed89c89abf90308b10256724a5bf68953052ec0af6b');

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

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (5, '005_validations.sql', '0ec4db9331571f2332e055d5c0cc8f5b4518d24e2d7b21faeac809345533fdb7');

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

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (6, '006_verification.sql', 'bf94efb021f2f2080a89a91e6cf6e91a8d76aa2e93a9c04f020d40941207f4aa');

-- What a person would ask of ops, as views.

CREATE VIEW ops.chunk_metrics AS
SELECT a.run_id, c.chunk_id, c.entity, c.filter_field, c.kind, c.window_start, c.window_end, c.status,
       count(*)::int AS attempts, sum(a.pages)::bigint AS pages, sum(a.requests)::bigint AS requests,
       sum(a.retries)::bigint AS retries, sum(a.throttled)::bigint AS throttled,
       c.expected_rows, sum(a.rows_read)::bigint AS rows_read, sum(a.rows_inserted)::bigint AS rows_inserted,
       sum(a.rows_updated)::bigint AS rows_updated, sum(a.rows_unchanged)::bigint AS rows_unchanged,
       sum(a.rows_quarantined)::bigint AS rows_quarantined, sum(a.bytes_read)::bigint AS bytes_read,
       round(sum(a.wait_seconds)::numeric, 3) AS wait_seconds, round(sum(a.fetch_seconds)::numeric, 3) AS fetch_seconds,
       round(sum(a.split_seconds)::numeric, 3) AS split_seconds, round(sum(a.copy_seconds)::numeric, 3) AS copy_seconds,
       round(sum(a.merge_seconds)::numeric, 3) AS merge_seconds,
       round(sum(extract(epoch FROM coalesce(a.finished_at, clock_timestamp()) - a.started_at))::numeric, 3) AS seconds,
       min(a.started_at) AS started_at, max(a.finished_at) AS finished_at,
       (array_agg(a.error ORDER BY a.attempt DESC) FILTER (WHERE a.error IS NOT NULL))[1] AS last_error, c.intuit_tid
  FROM ops.attempts a JOIN ops.chunks c USING (chunk_id)
 GROUP BY a.run_id, c.chunk_id;
COMMENT ON VIEW   ops.chunk_metrics IS 'What each run did in each chunk: dates, pages, requests, rows, bytes, and the seconds of each phase, all attempts together.';
COMMENT ON COLUMN ops.chunk_metrics.seconds    IS 'The attempts'' own time, all together; one that was killed counts until now.';
COMMENT ON COLUMN ops.chunk_metrics.last_error IS 'Why the last failed attempt failed, in one line.';
COMMENT ON COLUMN ops.chunk_metrics.intuit_tid IS 'Intuit''s transaction id of the failure, for their support.';

CREATE VIEW ops.run_metrics AS
SELECT r.run_id, r.entity, r.filter_field, r.mode, r.status, r.range_start, r.range_end, r.chunk, r.concurrency,
       r.started_at, r.finished_at,
       round(extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::numeric, 3) AS seconds,
       c.planned AS chunks_planned, c.done AS chunks_done, c.failed AS chunks_failed,
       coalesce(a.pages, 0) AS pages, r.requests_sent + coalesce(a.requests, 0) AS requests,
       r.requests_retried + coalesce(a.retries, 0) AS retries, r.requests_throttled + coalesce(a.throttled, 0) AS throttled,
       r.source_count, coalesce(a.rows_read, 0) AS rows_read, coalesce(a.rows_inserted, 0) AS rows_inserted,
       coalesce(a.rows_updated, 0) AS rows_updated, coalesce(a.rows_unchanged, 0) AS rows_unchanged,
       coalesce(a.rows_quarantined, 0) AS rows_quarantined, coalesce(a.bytes_read, 0) AS bytes_read,
       coalesce(a.wait_seconds, 0) AS wait_seconds, coalesce(a.fetch_seconds, 0) AS fetch_seconds,
       coalesce(a.split_seconds, 0) AS split_seconds, coalesce(a.copy_seconds, 0) AS copy_seconds,
       coalesce(a.merge_seconds, 0) AS merge_seconds, coalesce(a.seconds, 0) AS worker_seconds,
       v.worst AS worst_check, r.error
  FROM ops.runs r
  CROSS JOIN LATERAL (
        SELECT count(*) AS planned, count(*) FILTER (WHERE x.status IN ('done', 'superseded')) AS done,
               count(*) FILTER (WHERE x.status = 'failed') AS failed
          FROM ops.run_chunks k JOIN ops.chunks x USING (chunk_id) WHERE k.run_id = r.run_id) AS c
  LEFT JOIN (
        SELECT run_id, sum(pages)::bigint AS pages, sum(requests)::bigint AS requests, sum(retries)::bigint AS retries,
               sum(throttled)::bigint AS throttled, sum(rows_read)::bigint AS rows_read,
               sum(rows_inserted)::bigint AS rows_inserted, sum(rows_updated)::bigint AS rows_updated,
               sum(rows_unchanged)::bigint AS rows_unchanged, sum(rows_quarantined)::bigint AS rows_quarantined,
               sum(bytes_read)::bigint AS bytes_read, sum(wait_seconds) AS wait_seconds,
               sum(fetch_seconds) AS fetch_seconds, sum(split_seconds) AS split_seconds, sum(copy_seconds) AS copy_seconds,
               sum(merge_seconds) AS merge_seconds, sum(seconds) AS seconds
          FROM ops.chunk_metrics GROUP BY run_id) AS a USING (run_id)
  LEFT JOIN LATERAL (
        SELECT (ARRAY['ok', 'notice', 'warning', 'error'])[max(array_position(ARRAY['ok', 'notice', 'warning', 'error'], l.severity))] AS worst
          FROM (SELECT DISTINCT ON (name) severity FROM ops.validations
                 WHERE validations.run_id = r.run_id ORDER BY name, validation_id DESC) AS l) AS v ON true;
COMMENT ON VIEW   ops.run_metrics IS 'One line a run: what was asked, how it ended, chunks, requests, rows, bytes, where the time went, and its gravest check.';
COMMENT ON COLUMN ops.run_metrics.worker_seconds IS 'The time of all attempts together; of several workers it is more than the wall time in seconds.';
COMMENT ON COLUMN ops.run_metrics.worst_check    IS 'ok, notice, warning or error: the gravest of the run''s checks as they stand last; null before any.';
COMMENT ON COLUMN ops.run_metrics.requests       IS 'All requests of the run, those of the plan and the checks, too.';

CREATE VIEW ops.latest_validations AS
SELECT DISTINCT ON (r.entity, v.name) r.entity, v.name, v.severity, v.message, v.advice, v.run_id, v.checked_at
  FROM ops.validations v JOIN ops.runs r USING (run_id)
 ORDER BY r.entity, v.name, v.validation_id DESC;
COMMENT ON VIEW ops.latest_validations IS 'The last word of each check for each entity: how the data stands now.';

CREATE VIEW ops.failures AS
SELECT a.run_id, a.chunk_id, c.entity, c.window_start, c.window_end, a.attempt, a.error, c.intuit_tid, c.status AS chunk_status,
       a.started_at, a.finished_at
  FROM ops.attempts a JOIN ops.chunks c USING (chunk_id)
 WHERE a.outcome = 'failed' OR a.error IS NOT NULL;
COMMENT ON VIEW   ops.failures IS 'Attempts that failed, with Intuit''s transaction id of the chunk''s last failure.';
COMMENT ON COLUMN ops.failures.chunk_status IS 'How the chunk stands now: done when a later attempt read it.';

CREATE VIEW ops.volume_by_chunk AS
SELECT c.entity, c.filter_field, c.window_start, c.window_end, c.chunk_id, c.status, c.expected_rows,
       m.rows_read, m.rows_inserted, m.rows_updated, m.rows_unchanged, m.rows_quarantined, m.run_id
  FROM ops.chunks c
  LEFT JOIN LATERAL (SELECT * FROM ops.chunk_metrics x WHERE x.chunk_id = c.chunk_id ORDER BY x.run_id DESC LIMIT 1) AS m ON true
 WHERE c.status <> 'superseded';
COMMENT ON VIEW   ops.volume_by_chunk IS 'The volume of each chunk as it was last read, beside QuickBooks'' own count of it.';
COMMENT ON COLUMN ops.volume_by_chunk.expected_rows IS 'COUNT(*) of the window when it was planned; null where it was not asked.';
COMMENT ON COLUMN ops.volume_by_chunk.run_id        IS 'The run that read it last.';

CREATE VIEW ops.progress AS
SELECT r.run_id, r.entity, r.status, c.chunks_done, c.chunks_planned, m.rows_read,
       round(m.rows_read / nullif(m.seconds, 0)) AS rows_per_second,
       CASE WHEN r.finished_at IS NULL AND c.done_rows > 0 AND r.source_count > c.done_rows
            THEN make_interval(secs => round(((r.source_count - m.rows_read) * m.seconds / nullif(m.rows_read, 0))::numeric)::double precision)
       END AS time_left
  FROM ops.runs r
  CROSS JOIN LATERAL (
        SELECT count(*) AS chunks_planned, count(*) FILTER (WHERE x.status IN ('done', 'superseded')) AS chunks_done,
               coalesce(sum(x.expected_rows) FILTER (WHERE x.status = 'done'), 0) AS done_rows
          FROM ops.run_chunks k JOIN ops.chunks x USING (chunk_id) WHERE k.run_id = r.run_id) AS c
  CROSS JOIN LATERAL (
        SELECT coalesce(sum(rows_read), 0)::bigint AS rows_read,
               extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at) AS seconds
          FROM ops.attempts a WHERE a.run_id = r.run_id) AS m;
COMMENT ON VIEW   ops.progress IS 'How far each run is: chunks, rows, rate, and the time that is left at that rate.';
COMMENT ON COLUMN ops.progress.time_left IS 'At the rate so far; null when the run has ended or nothing was counted.';

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (7, '007_views.sql', '468bdcef3d3120b2c423752fa66c0f81eb041c9793b824d58b206c3993de1421');

-- Fetching goes on while the page before is loaded. What the worker stands still for and what goes on beside a load
-- are counted apart, so that wait + fetch + split + copy + merge and a small rest are an attempt's wall time.

ALTER TABLE ops.attempts ADD COLUMN overlapped_seconds double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.attempts.overlapped_seconds IS 'Waiting, fetching and splitting that went on while the page before was loaded: not in the other figures.';
COMMENT ON COLUMN ops.attempts.wait_seconds       IS 'The worker stood still for the budget, the breaker or a pause.';
COMMENT ON COLUMN ops.attempts.fetch_seconds      IS 'The worker stood still for Intuit''s answers and reading them.';
COMMENT ON COLUMN ops.attempts.split_seconds      IS 'The worker stood still while a page was cut into records.';

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (8, '008_worker_time.sql', 'ca969bbac55770e051ba49e29163ef0952151863ff78695118c070f207eb822a');

-- What the processes of a company know of an outage of QuickBooks, whichever of them noticed it first.

CREATE TABLE ops.outages (
    realm_id      text        PRIMARY KEY,
    opened_at     timestamptz,
    reason        text,
    pause         interval    NOT NULL DEFAULT '0',
    next_probe_at timestamptz NOT NULL DEFAULT '-infinity',
    prober_pid    integer,
    prober_start  timestamptz
);
COMMENT ON TABLE  ops.outages IS 'The circuit breaker of a company: open while opened_at is set. One process at a time probes whether QuickBooks answers again.';
COMMENT ON COLUMN ops.outages.realm_id      IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.outages.opened_at     IS 'Since when requests wait (UTC); null while QuickBooks answers.';
COMMENT ON COLUMN ops.outages.reason        IS 'The failure that opened it, or the last probe''s, in one line.';
COMMENT ON COLUMN ops.outages.pause         IS 'How long nobody asks between two probes.';
COMMENT ON COLUMN ops.outages.next_probe_at IS 'When the next request may probe (UTC).';
COMMENT ON COLUMN ops.outages.prober_pid    IS 'The Postgres backend of the process whose request probes now.';
COMMENT ON COLUMN ops.outages.prober_start  IS 'When that backend began, since pids come again.';

-- What is known, for a process to act on. An outage that nobody probed for ten minutes is known no more: whoever
-- knew of it is gone.
CREATE FUNCTION ops.outage(realm text, OUT since timestamptz, OUT why text, OUT probe_in_seconds double precision)
LANGUAGE sql AS $$
    SELECT o.opened_at, o.reason,
           greatest(extract(epoch FROM o.next_probe_at - clock_timestamp()), 0)::double precision
      FROM ops.outages o
     WHERE o.realm_id = realm AND o.opened_at IS NOT NULL
       AND (o.next_probe_at > clock_timestamp() - interval '10 min' OR ops.is_alive(o.prober_pid, o.prober_start));
$$;
COMMENT ON FUNCTION ops.outage(text) IS 'Since when QuickBooks is out of reach for a company, why, and when to probe; nulls while it answers.';

CREATE FUNCTION ops.tell_outage(realm text) RETURNS void
LANGUAGE sql AS $$
    SELECT pg_notify('qbo_' || realm,
                     CASE WHEN o.since IS NULL THEN 'answers' ELSE 'outage ' || json_build_object(
                          'since', extract(epoch FROM o.since), 'probe_in', o.probe_in_seconds, 'why', left(o.why, 500))
                     END)
      FROM ops.outage(realm) o;
$$;
COMMENT ON FUNCTION ops.tell_outage(text) IS 'Tells the company''s processes how it stands.';

CREATE FUNCTION ops.report_outage(realm text, first_pause interval, why text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT since FROM ops.outage(realm)) IS NOT NULL THEN
        RETURN;
    END IF;
    INSERT INTO ops.outages AS o (realm_id, opened_at, reason, pause, next_probe_at)
    VALUES (realm, clock_timestamp(), why, first_pause, clock_timestamp() + first_pause)
    ON CONFLICT (realm_id) DO UPDATE
       SET opened_at = excluded.opened_at, reason = excluded.reason, pause = excluded.pause,
           next_probe_at = excluded.next_probe_at, prober_pid = NULL, prober_start = NULL;
    PERFORM ops.tell_outage(realm);
END $$;
COMMENT ON FUNCTION ops.report_outage(text, interval, text) IS 'A process found QuickBooks out of reach; nothing changes when that is known.';

-- Seconds until the caller should ask again; 0 means that its request is the probe, and null that QuickBooks answers.
CREATE FUNCTION ops.claim_probe(realm text) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    known ops.outages;
    seconds double precision;
BEGIN
    SELECT * INTO known FROM ops.outages o WHERE o.realm_id = realm FOR UPDATE;
    SELECT probe_in_seconds INTO seconds FROM ops.outage(realm) WHERE since IS NOT NULL;
    IF seconds IS NULL THEN
        RETURN NULL;
    ELSIF seconds > 0 THEN
        RETURN seconds;
    ELSIF known.prober_pid <> pg_backend_pid() AND ops.is_alive(known.prober_pid, known.prober_start) THEN
        RETURN greatest(extract(epoch FROM known.pause), 1);
    END IF;
    UPDATE ops.outages o SET prober_pid = a.pid, prober_start = a.backend_start
      FROM pg_stat_get_activity(pg_backend_pid()) a
     WHERE o.realm_id = realm;
    RETURN 0;
END $$;
COMMENT ON FUNCTION ops.claim_probe(text) IS 'Whether the caller''s request may probe; one process at a time, and when its backend is gone another.';

-- `why` null: the probe was given up without an answer, for reasons of the process's own; the next may follow at once.
CREATE FUNCTION ops.probe_failed(realm text, longest_pause interval, why text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ops.outages o
       SET pause = CASE WHEN why IS NULL THEN o.pause ELSE least(o.pause * 2, longest_pause) END,
           next_probe_at = clock_timestamp()
                           + CASE WHEN why IS NULL THEN interval '0' ELSE least(o.pause * 2, longest_pause) END,
           reason = coalesce(why, o.reason), prober_pid = NULL, prober_start = NULL
     WHERE o.realm_id = realm AND o.prober_pid = pg_backend_pid();
    PERFORM ops.tell_outage(realm);
END $$;
COMMENT ON FUNCTION ops.probe_failed(text, interval, text) IS 'QuickBooks is still out of reach: the pause doubles, up to the longest.';

CREATE FUNCTION ops.end_outage(realm text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ops.outages o SET opened_at = NULL, reason = NULL, prober_pid = NULL, prober_start = NULL
     WHERE o.realm_id = realm AND o.opened_at IS NOT NULL;
    PERFORM pg_notify('qbo_' || realm, 'answers');
END $$;
COMMENT ON FUNCTION ops.end_outage(text) IS 'QuickBooks answered.';

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (9, '009_outage.sql', 'a24322ae86dfb031057908383f0840d8c35581510d4a86c507972ff31799aa8c');

-- A column of a view means what the column of the same name means in the table that it comes from.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT DISTINCT ON (v.relname, a.attname) v.relname AS view_name, a.attname AS column_name, d.description
          FROM pg_class v
          JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
          JOIN unnest(ARRAY['ops.attempts', 'ops.chunks', 'ops.runs', 'ops.validations']) WITH ORDINALITY AS t (name, place) ON true
          JOIN pg_attribute b ON b.attrelid = t.name::regclass AND b.attname = a.attname
          JOIN pg_description d ON d.objoid = t.name::regclass AND d.objsubid = b.attnum
         WHERE v.relnamespace = 'ops'::regnamespace AND v.relkind = 'v' AND col_description(v.oid, a.attnum) IS NULL
         ORDER BY v.relname, a.attname, t.place
    LOOP
        EXECUTE format('COMMENT ON COLUMN ops.%I.%I IS %L', found.view_name, found.column_name, found.description);
    END LOOP;
END $$;

COMMENT ON COLUMN ops.chunk_metrics.attempts         IS 'How often the run began the chunk.';
COMMENT ON COLUMN ops.run_metrics.seconds            IS 'Wall time of the run so far.';
COMMENT ON COLUMN ops.run_metrics.chunks_planned     IS 'Chunks that the run set out to do.';
COMMENT ON COLUMN ops.run_metrics.chunks_done        IS 'How many of them are done now.';
COMMENT ON COLUMN ops.run_metrics.chunks_failed      IS 'How many of them have failed.';
COMMENT ON COLUMN ops.progress.chunks_planned        IS 'Chunks that the run set out to do.';
COMMENT ON COLUMN ops.progress.chunks_done           IS 'How many of them are done now.';
COMMENT ON COLUMN ops.progress.rows_per_second       IS 'Rows read a second of wall time.';

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (10, '010_view_comments.sql', '6325e227a3ac53805957614244931f69f86be438e527d27ced970d56378ee7b7');

-- Since new records no longer pass through staging: what the seconds of COPY are.
COMMENT ON COLUMN ops.attempts.copy_seconds IS 'COPY: new records into raw, those that raw knows into staging.';

-- Its views say the same (010_view_comments.sql).
DO $$
DECLARE
    seen name;
BEGIN
    FOR seen IN
        SELECT v.relname FROM pg_class v JOIN pg_attribute a ON a.attrelid = v.oid
         WHERE v.relnamespace = 'ops'::regnamespace AND v.relkind = 'v' AND a.attname = 'copy_seconds'
    LOOP
        EXECUTE format('COMMENT ON COLUMN ops.%I.copy_seconds IS %L', seen,
                       col_description('ops.attempts'::regclass,
                                       (SELECT attnum FROM pg_attribute
                                         WHERE attrelid = 'ops.attempts'::regclass AND attname = 'copy_seconds')));
    END LOOP;
END $$;

INSERT INTO ops.schema_versions (version, name, sha256) VALUES (11, '011_copy_comment.sql', '73f015e768f1b23d62c27a2e915520104791b6f0d397d7a9ffd833678beca6f1');

-- One entity's table in raw. Applied once for each row of async_extractor/entities.py:
-- qb_invoices is qb_invoices, qb_customers, qb_items; Invoice is Intuit's name, Invoice, Customer, Item.
CREATE TABLE IF NOT EXISTS raw.qb_invoices (
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

COMMENT ON TABLE  raw.qb_invoices IS 'QuickBooks Online Invoice records, one row an Id, the payload complete and unchanged.';
COMMENT ON COLUMN raw.qb_invoices.id                       IS 'The Invoice''s Id in QuickBooks, a string of digits, unique within the company.';
COMMENT ON COLUMN raw.qb_invoices.payload                  IS 'The whole record as Intuit sent it: every key, every value, number scale kept (639.00 stays 639.00).';
COMMENT ON COLUMN raw.qb_invoices.ingested_at_utc          IS 'When this version was written here (UTC).';
COMMENT ON COLUMN raw.qb_invoices.extract_window_start_utc IS 'Start of the window that it was read in (UTC, inclusive).';
COMMENT ON COLUMN raw.qb_invoices.extract_window_end_utc   IS 'End of the window that it was read in (UTC, exclusive).';
COMMENT ON COLUMN raw.qb_invoices.page_number              IS 'The page of the chunk that it came in, from 1.';
COMMENT ON COLUMN raw.qb_invoices.page_size                IS 'MAXRESULTS of the request that brought it (Intuit''s cap is 1000).';
COMMENT ON COLUMN raw.qb_invoices.request_payload          IS 'The request that brought it: method, path, minorversion, query. Never a token.';
COMMENT ON COLUMN raw.qb_invoices.last_updated_utc         IS 'MetaData.LastUpdatedTime as an instant: the merge keeps the newest version.';
COMMENT ON COLUMN raw.qb_invoices.sync_token               IS 'SyncToken as a number: it decides between versions of one second.';
COMMENT ON COLUMN raw.qb_invoices.run_id                   IS 'The run in ops.runs that wrote this version.';
COMMENT ON COLUMN raw.qb_invoices.deleted_at_utc           IS 'When the record was found deleted in QuickBooks (UTC); its last payload is kept. Null while it lives.';

-- lz4 costs about a third of pglz's time; not every server is built with it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE raw.qb_invoices ALTER COLUMN payload SET COMPRESSION lz4;
    END IF;
END $$;

-- One entity's table in raw. Applied once for each row of async_extractor/entities.py:
-- qb_customers is qb_invoices, qb_customers, qb_items; Customer is Intuit's name, Invoice, Customer, Item.
CREATE TABLE IF NOT EXISTS raw.qb_customers (
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

COMMENT ON TABLE  raw.qb_customers IS 'QuickBooks Online Customer records, one row an Id, the payload complete and unchanged.';
COMMENT ON COLUMN raw.qb_customers.id                       IS 'The Customer''s Id in QuickBooks, a string of digits, unique within the company.';
COMMENT ON COLUMN raw.qb_customers.payload                  IS 'The whole record as Intuit sent it: every key, every value, number scale kept (639.00 stays 639.00).';
COMMENT ON COLUMN raw.qb_customers.ingested_at_utc          IS 'When this version was written here (UTC).';
COMMENT ON COLUMN raw.qb_customers.extract_window_start_utc IS 'Start of the window that it was read in (UTC, inclusive).';
COMMENT ON COLUMN raw.qb_customers.extract_window_end_utc   IS 'End of the window that it was read in (UTC, exclusive).';
COMMENT ON COLUMN raw.qb_customers.page_number              IS 'The page of the chunk that it came in, from 1.';
COMMENT ON COLUMN raw.qb_customers.page_size                IS 'MAXRESULTS of the request that brought it (Intuit''s cap is 1000).';
COMMENT ON COLUMN raw.qb_customers.request_payload          IS 'The request that brought it: method, path, minorversion, query. Never a token.';
COMMENT ON COLUMN raw.qb_customers.last_updated_utc         IS 'MetaData.LastUpdatedTime as an instant: the merge keeps the newest version.';
COMMENT ON COLUMN raw.qb_customers.sync_token               IS 'SyncToken as a number: it decides between versions of one second.';
COMMENT ON COLUMN raw.qb_customers.run_id                   IS 'The run in ops.runs that wrote this version.';
COMMENT ON COLUMN raw.qb_customers.deleted_at_utc           IS 'When the record was found deleted in QuickBooks (UTC); its last payload is kept. Null while it lives.';

-- lz4 costs about a third of pglz's time; not every server is built with it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE raw.qb_customers ALTER COLUMN payload SET COMPRESSION lz4;
    END IF;
END $$;

-- One entity's table in raw. Applied once for each row of async_extractor/entities.py:
-- qb_items is qb_invoices, qb_customers, qb_items; Item is Intuit's name, Invoice, Customer, Item.
CREATE TABLE IF NOT EXISTS raw.qb_items (
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

COMMENT ON TABLE  raw.qb_items IS 'QuickBooks Online Item records, one row an Id, the payload complete and unchanged.';
COMMENT ON COLUMN raw.qb_items.id                       IS 'The Item''s Id in QuickBooks, a string of digits, unique within the company.';
COMMENT ON COLUMN raw.qb_items.payload                  IS 'The whole record as Intuit sent it: every key, every value, number scale kept (639.00 stays 639.00).';
COMMENT ON COLUMN raw.qb_items.ingested_at_utc          IS 'When this version was written here (UTC).';
COMMENT ON COLUMN raw.qb_items.extract_window_start_utc IS 'Start of the window that it was read in (UTC, inclusive).';
COMMENT ON COLUMN raw.qb_items.extract_window_end_utc   IS 'End of the window that it was read in (UTC, exclusive).';
COMMENT ON COLUMN raw.qb_items.page_number              IS 'The page of the chunk that it came in, from 1.';
COMMENT ON COLUMN raw.qb_items.page_size                IS 'MAXRESULTS of the request that brought it (Intuit''s cap is 1000).';
COMMENT ON COLUMN raw.qb_items.request_payload          IS 'The request that brought it: method, path, minorversion, query. Never a token.';
COMMENT ON COLUMN raw.qb_items.last_updated_utc         IS 'MetaData.LastUpdatedTime as an instant: the merge keeps the newest version.';
COMMENT ON COLUMN raw.qb_items.sync_token               IS 'SyncToken as a number: it decides between versions of one second.';
COMMENT ON COLUMN raw.qb_items.run_id                   IS 'The run in ops.runs that wrote this version.';
COMMENT ON COLUMN raw.qb_items.deleted_at_utc           IS 'When the record was found deleted in QuickBooks (UTC); its last payload is kept. Null while it lives.';

-- lz4 costs about a third of pglz's time; not every server is built with it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE raw.qb_items ALTER COLUMN payload SET COMPRESSION lz4;
    END IF;
END $$;


INSERT INTO ops.company (raw_schema, realm_id, environment) VALUES ('raw', '9130347', 'simulator');
INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency, status, as_of, source_count, started_at, finished_at)
VALUES ('9130347', 'items', 'last_updated', 'resume', '2023-01-01Z', '2024-01-01Z', 'auto', 4, 'done', '2026-01-01Z', 2, '2026-01-01Z', '2026-01-01 00:01Z'),
       ('9130347', 'items', 'last_updated', 'resume', '2024-01-01Z', '2025-01-01Z', 'P1M', 4, 'running', '2026-01-02Z', NULL, '2026-01-02Z', NULL),
       ('9130347', 'items', 'last_updated', 'verify', '2023-01-01Z', '2024-01-01Z', 'auto', 1, 'done', NULL, NULL, '2026-01-03Z', '2026-01-03 00:01Z');
INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end, range_start, range_end, status, expected_rows, attempt, done_at)
VALUES ('9130347', 'items', 'last_updated', 'window', '2023-01-01Z', '2023-07-01Z', '2023-01-01Z', '2024-01-01Z', 'done', 2, 1, '2026-01-01 00:00:30Z'),
       ('9130347', 'items', 'last_updated', 'window', '2023-07-01Z', '2024-01-01Z', '2023-01-01Z', '2024-01-01Z', 'done', 0, 0, '2026-01-01 00:00:01Z'),
       ('9130347', 'items', 'last_updated', 'catch_up', '2025-12-31 23:59:58Z', '2026-01-01 00:00:40Z', '2023-01-01Z', '2024-01-01Z', 'done', NULL, 1, '2026-01-01 00:00:40Z'),
       ('9130347', 'items', 'last_updated', 'window', '2024-01-01Z', '2024-02-01Z', '2024-01-01Z', '2025-01-01Z', 'running', NULL, 1, NULL),
       ('9130347', 'items', 'last_updated', 'window', '2024-02-01Z', '2025-01-01Z', '2024-01-01Z', '2025-01-01Z', 'planned', NULL, 0, NULL);
INSERT INTO ops.run_chunks SELECT 1, chunk_id FROM ops.chunks WHERE chunk_id <= 3;
INSERT INTO ops.run_chunks SELECT 2, chunk_id FROM ops.chunks WHERE chunk_id > 3;
INSERT INTO ops.attempts (chunk_id, attempt, run_id, outcome, pages, requests, rows_read, rows_inserted, started_at, finished_at)
VALUES (1, 1, 1, 'done', 1, 1, 2, 1, '2026-01-01 00:00:20Z', '2026-01-01 00:00:30Z'),
       (3, 1, 1, 'done', 0, 1, 0, 0, '2026-01-01 00:00:35Z', '2026-01-01 00:00:40Z'),
       (4, 1, 2, NULL, 0, 1, 0, 0, '2026-01-02 00:00:20Z', NULL);
INSERT INTO ops.quarantine (realm_id, entity, record_id, reason, record, chunk_id, run_id, page_number, request_payload)
VALUES ('9130347', 'items', '7', 'it holds \u0000', '\x7b7d', 1, 1, 1, '{"query": "SELECT * FROM Item"}');
INSERT INTO ops.validations (run_id, name, severity, message) VALUES (1, 'keys', 'ok', '2 rows');
INSERT INTO ops.events (run_id, happened_at, code, name, phase, level, message) VALUES (1, '2026-01-01Z', 'QBF-I101', 'token_refreshed', 'auth', 'info', 'refreshed');
INSERT INTO ops.usage VALUES ('9130347', '2026-01-01', 12);
INSERT INTO raw.qb_items (id, payload, ingested_at_utc, extract_window_start_utc, extract_window_end_utc, page_number, page_size, request_payload, last_updated_utc, sync_token, run_id)
VALUES ('1', '{"Id": "1", "Name": "a", "MetaData": {"CreateTime": "2023-01-05T00:00:00Z", "LastUpdatedTime": "2023-02-05T00:00:00Z"}}', '2026-01-01 00:00:25Z', '2023-01-01Z', '2023-07-01Z', 1, 1000, '{"query": "SELECT * FROM Item"}', '2023-02-05Z', 0, 1);
