-- One gate for a company, whatever number of processes and machines ask: Intuit counts per company. All that decides
-- whether a request may go now is here: the rate, the places in flight, the pause after a 429, an outage and its probe.
--
-- Each request has a row in ops.turns: the moment from which it may be sent, by this server's clock, and the moment by
-- which it has surely arrived at Intuit, which is when its answer came back. A new turn is dated so that, whatever
-- the network did, no minute and no second can hold more arrivals than Intuit allows: of the turns that can have
-- arrived in the minute before it, there is always one fewer than the limit.
--
-- The circuit: requests that fail one after the other (an outage), or a single 429, open it; then nobody asks for a
-- pause, and after it one request at a time probes. The first that QuickBooks takes closes it, each that it doesn't
-- makes the next pause longer. NOTIFY only says that something changed: whoever hears it asks again.

CREATE TABLE ops.budget (
    realm_id          text        PRIMARY KEY,
    next_slot_at      timestamptz NOT NULL DEFAULT '-infinity',
    slowdown          double precision NOT NULL DEFAULT 1 CHECK (slowdown >= 1),
    failures_in_a_row integer     NOT NULL DEFAULT 0,
    open_for          text        CHECK (open_for IN ('outage', 'throttled')),
    open_since        timestamptz CHECK ((open_since IS NULL) = (open_for IS NULL)),
    reason            text,
    pauses_in_a_row   integer     NOT NULL DEFAULT 0,
    pause             interval    NOT NULL DEFAULT '0',
    paused_until      timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE  ops.budget IS 'When a company may be asked next, and its circuit breaker: open while open_for is set. Turns are handed out one after the other by this server''s clock.';
COMMENT ON COLUMN ops.budget.realm_id          IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.budget.next_slot_at      IS 'The next slot of the even pace. Slots that nobody used are made up for, up to five seconds'' worth.';
COMMENT ON COLUMN ops.budget.slowdown          IS 'How many times slower than the even pace: doubled by a 429, back to 1 turn by turn.';
COMMENT ON COLUMN ops.budget.failures_in_a_row IS 'Requests without an answer, or answered by a broken server, since one was taken.';
COMMENT ON COLUMN ops.budget.open_for          IS 'Why nobody may ask but one request at a time: outage (failures in a row) or throttled (429); null while requests are taken.';
COMMENT ON COLUMN ops.budget.open_since        IS 'Since when that is so (UTC).';
COMMENT ON COLUMN ops.budget.reason            IS 'The failure that opened it, or the last probe''s, in one line.';
COMMENT ON COLUMN ops.budget.pauses_in_a_row   IS 'Pauses since a request was last taken.';
COMMENT ON COLUMN ops.budget.pause             IS 'How long the last pause is.';
COMMENT ON COLUMN ops.budget.paused_until      IS 'Its end: nobody asks before this moment.';

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

-- Call it with the company's budget row locked. A clock that was set back leaves behind what is dated further ahead than
-- it can be, and everybody would wait for as long: it is dated anew. `room` is how far ahead of the end of a pause a
-- turn can be.
CREATE FUNCTION ops.follow_the_clock(realm text, room interval) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_ CONSTANT timestamptz := clock_timestamp();
    soon CONSTANT timestamptz := now_ + interval '1 s';
    budget ops.budget;
    latest timestamptz;
BEGIN
    SELECT * INTO budget FROM ops.budget b WHERE b.realm_id = realm;
    latest := greatest(now_, least(budget.paused_until, now_ + budget.pause)) + room;
    IF NOT (budget.next_slot_at > latest OR budget.paused_until > soon + budget.pause
            OR coalesce(budget.open_since > soon, false)
            OR EXISTS (SELECT FROM ops.turns t WHERE t.realm_id = realm AND t.moment > latest)
            OR EXISTS (SELECT FROM ops.turns t
                        WHERE t.realm_id = realm AND t.arrived_by > soon AND t.arrived_by < 'infinity'))
    THEN
        RETURN false;
    END IF;
    UPDATE ops.budget b
       SET next_slot_at = least(b.next_slot_at, now_), paused_until = least(b.paused_until, now_ + b.pause),
           open_since = least(b.open_since, CASE WHEN b.open_for IS NOT NULL THEN now_ END)
     WHERE b.realm_id = realm;
    UPDATE ops.turns t SET moment = least(t.moment, now_), arrived_by = least(t.arrived_by, now_)
     WHERE t.realm_id = realm AND t.arrived_by < 'infinity' AND greatest(t.moment, t.arrived_by) > now_;
    UPDATE ops.turns t SET moment = now_ WHERE t.realm_id = realm AND t.moment > latest;
    DELETE FROM ops.waiting w WHERE w.realm_id = realm AND w.asked_at > now_;
    RETURN true;
END $$;
COMMENT ON FUNCTION ops.follow_the_clock(text, interval) IS 'After this server''s clock was set back: turns, slots and pauses that are dated further ahead than they can be are dated anew. Whether there were any.';

-- The next turn and its moment, with this server's clock to compare; both null when every place is taken, or kept for
-- processes that came first: then this one is in the queue and is told by NOTIFY when to ask again. `budget` is how the
-- company stands: while its circuit is open there is one place, and the turn that has it is the probe. `clock_set` says
-- that the clock was found set back. `held` is a turn that could not be used in time, to be dated anew.
--
-- The moment is the latest of
--   now; the end of a pause; the next slot of the even pace;
--   nineteen twentieths of the pace after the last turn, so that lost slots are made up for without a burst;
--   60 s after the per_minute-th last request has arrived;
--   1 s after the per_second-th last has arrived. A request that has no answer yet counts as arrived `lateness` after
--   its moment: senders keep to that, and without it an answer that takes long would cost pace.
CREATE FUNCTION ops.take_turn(realm text, per_minute integer, per_second integer, places integer, lateness interval,
                              held bigint DEFAULT NULL,
                              OUT turn bigint, OUT moment timestamptz, OUT clock timestamptz, OUT clock_set boolean,
                              OUT budget ops.budget)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pace CONSTANT interval := interval '60 s' / per_minute;
    free integer;
    started timestamptz;
    slot timestamptz;
BEGIN
    PERFORM FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO ops.budget (realm_id) VALUES (realm) ON CONFLICT DO NOTHING;
        PERFORM FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    END IF;
    SELECT a.backend_start INTO started FROM pg_stat_get_activity(pg_backend_pid()) a;
    -- Every place may be held by a turn that is to come, at eight times the pace after a 429.
    clock_set := ops.follow_the_clock(realm, interval '61 s' + places * pace * 8);
    PERFORM ops.clear_the_dead(realm, pace);
    IF held IS NOT NULL THEN
        PERFORM ops.drop_turn(held, pace);
    END IF;
    SELECT * INTO budget FROM ops.budget b WHERE b.realm_id = realm;
    clock := clock_timestamp();

    -- Whoever knew of it went away ten minutes ago.
    IF budget.open_for IS NOT NULL AND budget.paused_until < clock - interval '10 min' THEN
        budget := ops.close_circuit(realm);
    END IF;
    IF budget.open_for IS NOT NULL THEN
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

-- What became of a request. `outcome` is taken (QuickBooks answered it, be it with a fault of the request's own), failed
-- (no answer, or a broken server's), throttled (429; `retry_after` as Intuit wishes, in seconds), or left, when its
-- sender went away from it and Intuit may still be at it. `reason` tells the failure in one line. The circuit opens after
-- `threshold` failures in a row, for pauses that double from `first_pause` to `longest_pause`; after a 429 at once, for
-- as long as Intuit wishes, or `throttle_pause`, and from the second 429 in a row on for pauses that double from
-- `second_throttle` at least.
CREATE FUNCTION ops.end_turn(turn bigint, realm text, outcome text, reason text, retry_after double precision,
                             threshold integer, first_pause double precision, longest_pause double precision,
                             throttle_pause double precision, second_throttle double precision)
RETURNS ops.budget
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    began timestamptz;
    budget ops.budget;
    known text;
    is_probe boolean;
    number integer;
    seconds double precision;
BEGIN
    SELECT * INTO budget FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    IF outcome = 'left' THEN
        UPDATE ops.turns t SET backend_pid = 0 WHERE t.turn_id = turn;
        RETURN budget;
    END IF;
    SELECT t.moment INTO began FROM ops.turns t WHERE t.turn_id = turn;
    UPDATE ops.turns t SET arrived_by = clock_timestamp() WHERE t.turn_id = turn AND t.arrived_by = 'infinity';

    known := budget.open_for;
    is_probe := known IS NOT NULL AND coalesce(began >= budget.paused_until, false);
    IF outcome = 'taken' THEN
        -- What was sent before a 429 says nothing of it; any answer says that there is no outage.
        IF known = 'outage' OR is_probe THEN
            budget := ops.close_circuit(realm);
        ELSIF known IS NULL AND budget.failures_in_a_row > 0 THEN
            UPDATE ops.budget b SET failures_in_a_row = 0 WHERE b.realm_id = realm RETURNING b.* INTO budget;
        END IF;
    ELSIF outcome = 'throttled' THEN
        number := CASE WHEN known = 'throttled' THEN budget.pauses_in_a_row ELSE 0 END + 1;
        seconds := coalesce(retry_after, throttle_pause);
        IF known = 'throttled' AND NOT is_probe THEN
            -- Several requests that were under way together are throttled once; the longest wish counts.
            UPDATE ops.budget b
               SET pause = greatest(b.pause, make_interval(secs => seconds)),
                   paused_until = greatest(b.paused_until, clock_timestamp() + make_interval(secs => seconds))
             WHERE b.realm_id = realm RETURNING b.* INTO budget;
        ELSE
            IF number > 1 THEN
                seconds := greatest(seconds, least(second_throttle * 2 ^ least(number - 2, 9), longest_pause));
            END IF;
            budget := ops.open_circuit(realm, 'throttled', number, seconds, reason);
        END IF;
    ELSE
        UPDATE ops.budget b SET failures_in_a_row = b.failures_in_a_row + 1
         WHERE b.realm_id = realm RETURNING b.* INTO budget;
        number := CASE WHEN known = 'outage' THEN budget.pauses_in_a_row ELSE 0 END + 1;
        IF (known = 'outage' AND is_probe) OR (known IS DISTINCT FROM 'outage' AND budget.failures_in_a_row >= threshold)
        THEN
            seconds := least(first_pause * 2 ^ least(number - 1, 9), longest_pause);
            budget := ops.open_circuit(realm, 'outage', number, seconds, reason);
        END IF;
    END IF;
    PERFORM ops.call_the_next(realm);
    RETURN budget;
END $$;
COMMENT ON FUNCTION ops.end_turn(bigint, text, text, text, double precision, integer, double precision, double precision, double precision, double precision) IS 'A request has been answered, or has failed: its place goes to the process that has waited longest, and the circuit opens, closes or stays.';

-- Call these two with the company's budget row locked.
CREATE FUNCTION ops.open_circuit(realm text, cause text, number integer, seconds double precision, why text)
RETURNS ops.budget
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_notify('qbo_' || realm, 'circuit');
    UPDATE ops.budget b
       SET open_for = cause, open_since = CASE WHEN b.open_for = cause THEN b.open_since ELSE clock_timestamp() END,
           reason = why, pauses_in_a_row = number, pause = make_interval(secs => seconds),
           paused_until = clock_timestamp() + make_interval(secs => seconds),
           failures_in_a_row = CASE WHEN cause = 'outage' THEN b.failures_in_a_row ELSE 0 END,
           slowdown = CASE WHEN cause = 'throttled' THEN least(b.slowdown * 2, 8) ELSE b.slowdown END
     WHERE b.realm_id = realm
    RETURNING b.*;
$$;
COMMENT ON FUNCTION ops.open_circuit(text, text, integer, double precision, text) IS 'Nobody asks for so many seconds; then one request probes.';

CREATE FUNCTION ops.close_circuit(realm text) RETURNS ops.budget
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_notify('qbo_' || realm, 'circuit');
    -- A probe that is still to come is needed no more, nor is its moment waited for.
    UPDATE ops.turns t SET moment = clock_timestamp()
     WHERE t.realm_id = realm AND t.arrived_by = 'infinity' AND t.moment > clock_timestamp();
    UPDATE ops.budget b
       SET open_for = NULL, open_since = NULL, reason = NULL, failures_in_a_row = 0, pauses_in_a_row = 0, pause = '0',
           paused_until = '-infinity', next_slot_at = least(b.next_slot_at, clock_timestamp())
     WHERE b.realm_id = realm
    RETURNING b.*;
$$;
COMMENT ON FUNCTION ops.close_circuit(text) IS 'QuickBooks takes requests.';

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
COMMENT ON FUNCTION ops.call_the_next(text) IS 'Tells the first in the queue that a place may be free.';
