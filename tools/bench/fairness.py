"""Whether the processes of a company take turns: read from the turns that Postgres handed out."""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg2

from local_postgres.embedded import PostgresAddress

# When each turn was asked for, from the start of queueing where the process had to, and which were not used:
# those are deleted before they have an answer.
KEEP = """
    CREATE TABLE public.asked (realm_id text, turn_id bigint, process integer, asked timestamptz, moment timestamptz);
    CREATE TABLE public.unused (turn_id bigint, was_due boolean);
    CREATE FUNCTION public.keep_queueing() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.asked VALUES (new.realm_id, NULL, new.backend_pid, clock_timestamp(), NULL);
        RETURN NULL;
    END $$;
    CREATE FUNCTION public.keep_turn() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.asked VALUES (new.realm_id, new.turn_id, new.backend_pid, clock_timestamp(), new.moment);
        RETURN NULL;
    END $$;
    CREATE FUNCTION public.keep_unused() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.unused VALUES (old.turn_id, old.moment <= clock_timestamp());
        RETURN NULL;
    END $$;
    CREATE TRIGGER keep AFTER INSERT ON ops.waiting FOR EACH ROW EXECUTE FUNCTION public.keep_queueing();
    CREATE TRIGGER keep AFTER INSERT ON ops.turns FOR EACH ROW EXECUTE FUNCTION public.keep_turn();
    CREATE TRIGGER unused AFTER DELETE ON ops.turns FOR EACH ROW
        WHEN (old.arrived_by = 'infinity') EXECUTE FUNCTION public.keep_unused();
"""
READ = """
    SELECT extract(epoch FROM asked)::float8, extract(epoch FROM moment)::float8, process, was_due
      FROM public.asked LEFT JOIN public.unused USING (turn_id) WHERE realm_id = %s ORDER BY asked
"""


@dataclass(frozen=True)
class Turn:
    """`asked` is when its process began to wait for it, `moment` from when on it could be used (seconds)."""

    asked: float
    moment: float
    process: int
    used: bool = True


@dataclass(frozen=True)
class Fairness:
    """Of so many `waits` the `most` turns that one other process took meanwhile, and in how many waits (`overtaken`)
    another took two or more. For `too_late` turns their process came later than is allowed, and asked anew."""

    waits: int
    most: int
    overtaken: int
    too_late: int

    @classmethod
    def of(cls, turns: Iterable[Turn]) -> Fairness:
        turns = list(turns)
        taken: dict[int, list[float]] = defaultdict(list)
        for turn in sorted(turns, key=lambda turn: turn.moment):
            if turn.used:
                taken[turn.process].append(turn.moment)
        meanwhile = [
            max(
                (
                    bisect_left(moments, turn.moment) - bisect_right(moments, turn.asked)
                    for process, moments in taken.items()
                    if process != turn.process
                ),
                default=0,
            )
            for turn in turns
        ]
        return cls(
            waits=len(turns),
            most=max(meanwhile, default=0),
            overtaken=sum(most > 1 for most in meanwhile),
            too_late=sum(not turn.used for turn in turns),
        )


def watch(postgres: PostgresAddress) -> None:
    """From now on the database, whose schemas are made, keeps who asked when. Several may want that at once."""
    with contextlib.closing(psycopg2.connect(postgres.url(show_password=True))) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('fairness'))")
        cursor.execute("SELECT to_regclass('public.asked')")
        if cursor.fetchone() == (None,):
            cursor.execute(KEEP)
        connection.commit()


def watched(postgres: PostgresAddress, realm_id: str) -> Fairness:
    """Of all turns of the company since `watch`, but those that were given back before they were due."""
    with contextlib.closing(psycopg2.connect(postgres.url(show_password=True))) as connection:
        cursor = connection.cursor()
        cursor.execute(READ, (realm_id,))
        rows = cursor.fetchall()
    turns: list[Turn] = []
    queueing: dict[int, float] = {}
    for asked, moment, process, unused_when_due in rows:
        if moment is None:
            queueing.setdefault(process, asked)
            continue
        since = queueing.pop(process, asked)
        if unused_when_due is not False:
            turns.append(Turn(since, moment, process, used=unused_when_due is None))
    return Fairness.of(turns)
