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
