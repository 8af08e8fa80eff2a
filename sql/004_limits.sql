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
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    -- The start of another role's backend is hidden from a role that may not monitor; the pid must do then.
    SELECT EXISTS (SELECT FROM pg_stat_get_activity(pid) a
                    WHERE pid <> 0 AND (a.backend_start IS NULL OR a.backend_start = started));
$$;
COMMENT ON FUNCTION ops.is_alive(integer, timestamptz) IS 'Whether the backend that began then is still there.';

CREATE FUNCTION ops.count_request(realm text, change integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ops.usage AS u (realm_id, month, requests)
    VALUES (realm, date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date, greatest(change, 0))
    ON CONFLICT (realm_id, month) DO UPDATE SET requests = greatest(u.requests + change, 0);
$$;
COMMENT ON FUNCTION ops.count_request(text, integer) IS 'Adds to the month''s requests, or takes away one that was not sent after all.';

-- Call it with the company's budget row locked.
CREATE FUNCTION ops.drop_turn(turn bigint, pace interval) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    PERFORM ops.drop_turn(turn, interval '60 s' / per_minute);
    PERFORM ops.call_the_next(realm);
END $$;
COMMENT ON FUNCTION ops.return_turn(bigint, text, integer) IS 'A turn was not used: its slot and its place go to others.';

CREATE FUNCTION ops.call_the_next(realm text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('qbo_' || realm, 'place ' || w.backend_pid) FROM ops.waiting w
      WHERE w.realm_id = realm AND ops.is_alive(w.backend_pid, w.backend_start)
      ORDER BY w.ticket LIMIT 1;
END $$;
COMMENT ON FUNCTION ops.call_the_next(text) IS 'Tells the first in the queue that a place is free.';

CREATE FUNCTION ops.pause_company(realm text, seconds double precision) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.opened_at, o.reason,
           greatest(extract(epoch FROM o.next_probe_at - clock_timestamp()), 0)::double precision
      FROM ops.outages o
     WHERE o.realm_id = realm AND o.opened_at IS NOT NULL
       AND (o.next_probe_at > clock_timestamp() - interval '10 min' OR ops.is_alive(o.prober_pid, o.prober_start));
$$;
COMMENT ON FUNCTION ops.outage(text) IS 'Since when QuickBooks is out of reach for a company, why, and when to probe; nulls while it answers.';

CREATE FUNCTION ops.tell_outage(realm text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_notify('qbo_' || realm,
                     CASE WHEN o.since IS NULL THEN 'answers' ELSE 'outage ' || json_build_object(
                          'since', extract(epoch FROM o.since), 'probe_in', o.probe_in_seconds, 'why', left(o.why, 500))
                     END)
      FROM ops.outage(realm) o;
$$;
COMMENT ON FUNCTION ops.tell_outage(text) IS 'Tells the company''s processes how it stands.';

CREATE FUNCTION ops.report_outage(realm text, first_pause interval, why text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE ops.outages o SET opened_at = NULL, reason = NULL, prober_pid = NULL, prober_start = NULL
     WHERE o.realm_id = realm AND o.opened_at IS NOT NULL;
    PERFORM pg_notify('qbo_' || realm, 'answers');
END $$;
COMMENT ON FUNCTION ops.end_outage(text) IS 'QuickBooks answered.';
