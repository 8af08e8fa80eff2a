-- One budget for a company, whatever number of processes and machines ask: Intuit counts per company.

CREATE TABLE ops.budget (
    realm_id     text        PRIMARY KEY,
    next_turn_at timestamptz NOT NULL DEFAULT '-infinity',
    paused_until timestamptz NOT NULL DEFAULT '-infinity',
    pauses       bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE  ops.budget IS 'When a company may be asked next. Turns are handed out one after the other by this server''s clock.';
COMMENT ON COLUMN ops.budget.realm_id     IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.budget.next_turn_at IS 'The earliest moment for the next request.';
COMMENT ON COLUMN ops.budget.paused_until IS 'After a 429 nobody asks before this moment.';
COMMENT ON COLUMN ops.budget.pauses       IS 'How often the company was paused.';

CREATE TABLE ops.in_flight (
    realm_id      text        NOT NULL,
    place         smallint    NOT NULL,
    backend_pid   integer     NOT NULL,
    backend_start timestamptz NOT NULL,
    taken_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (realm_id, place)
);
COMMENT ON TABLE  ops.in_flight IS 'The places in flight that are taken. A place whose backend is gone is free: a killed process gives its places back by dying.';
COMMENT ON COLUMN ops.in_flight.realm_id      IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.in_flight.place         IS '1 to the number of requests allowed at once.';
COMMENT ON COLUMN ops.in_flight.backend_pid   IS 'The holder''s Postgres backend.';
COMMENT ON COLUMN ops.in_flight.backend_start IS 'When that backend began, since pids come again.';
COMMENT ON COLUMN ops.in_flight.taken_at      IS 'When the place was taken (UTC).';

CREATE TABLE ops.usage (
    realm_id text   NOT NULL,
    month    date   NOT NULL CHECK (extract(day FROM month) = 1),
    requests bigint NOT NULL,
    PRIMARY KEY (realm_id, month)
);
COMMENT ON TABLE  ops.usage IS 'Requests sent for a company in a month (UTC): Intuit meters each, and the smallest tier ends at 500,000.';
COMMENT ON COLUMN ops.usage.realm_id IS 'Intuit''s id of the company (realm).';
COMMENT ON COLUMN ops.usage.month    IS 'The month''s first day.';
COMMENT ON COLUMN ops.usage.requests IS 'Turns taken in it.';

-- The next turn: seconds to wait before sending, and the place in flight; a null place when all are taken.
-- For ten seconds after a pause turns are twice as far apart, so that the company resumes gently.
CREATE FUNCTION ops.take_turn(realm text, spacing interval, places smallint, held smallint DEFAULT NULL,
                              OUT wait_seconds double precision, OUT place smallint)
LANGUAGE plpgsql AS $$
DECLARE
    budget ops.budget;
    moment timestamptz;
    turn timestamptz;
    me record;
BEGIN
    INSERT INTO ops.budget (realm_id) VALUES (realm) ON CONFLICT DO NOTHING;
    SELECT * INTO budget FROM ops.budget b WHERE b.realm_id = realm FOR UPDATE;
    place := held;
    IF place IS NULL THEN
        SELECT pid, backend_start INTO me FROM pg_stat_activity WHERE pid = pg_backend_pid();
        SELECT free.number INTO place
          FROM generate_series(1, places) AS free (number)
         WHERE NOT EXISTS (SELECT FROM ops.in_flight f
                             JOIN pg_stat_activity a ON a.pid = f.backend_pid AND a.backend_start = f.backend_start
                            WHERE f.realm_id = realm AND f.place = free.number)
         ORDER BY free.number LIMIT 1;
        IF place IS NULL THEN
            RETURN;
        END IF;
        INSERT INTO ops.in_flight AS f (realm_id, place, backend_pid, backend_start)
        VALUES (realm, take_turn.place, me.pid, me.backend_start)
        ON CONFLICT ON CONSTRAINT in_flight_pkey
        DO UPDATE SET backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, taken_at = clock_timestamp();
    END IF;
    moment := clock_timestamp();
    turn := greatest(budget.next_turn_at, budget.paused_until, moment);
    UPDATE ops.budget b
       SET next_turn_at = turn + spacing * CASE WHEN turn < budget.paused_until + interval '10 s' THEN 2 ELSE 1 END
     WHERE b.realm_id = realm;
    INSERT INTO ops.usage AS u (realm_id, month, requests)
    VALUES (realm, date_trunc('month', moment AT TIME ZONE 'UTC')::date, 1)
    ON CONFLICT ON CONSTRAINT usage_pkey DO UPDATE SET requests = u.requests + 1;
    wait_seconds := extract(epoch FROM turn - moment);
END $$;
COMMENT ON FUNCTION ops.take_turn(text, interval, smallint, smallint) IS 'Hands out the company''s next turn: seconds to wait, and a place in flight (null: none is free).';

CREATE FUNCTION ops.give_place_back(realm text, mine smallint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM ops.in_flight f WHERE f.realm_id = realm AND f.place = mine AND f.backend_pid = pg_backend_pid();
    PERFORM pg_notify('qbo_place_free', realm);
END $$;
COMMENT ON FUNCTION ops.give_place_back(text, smallint) IS 'Frees a place in flight and tells those who wait for one.';

CREATE FUNCTION ops.pause_company(realm text, seconds double precision) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ops.budget AS b (realm_id, paused_until, pauses)
    VALUES (realm, clock_timestamp() + make_interval(secs => seconds), 1)
    ON CONFLICT (realm_id) DO UPDATE
       SET paused_until = greatest(b.paused_until, excluded.paused_until), pauses = b.pauses + 1;
$$;
COMMENT ON FUNCTION ops.pause_company(text, double precision) IS 'After a 429: nobody gets a turn for so many seconds.';
