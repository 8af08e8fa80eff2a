"""Whether the processes of a company take turns: read from the turns that Postgres handed out."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg2

from async_extractor.embedded_postgres import PostgresAddress

# Postgres keeps turns for a minute after their answer.
LOOK_EVERY_SECONDS = 15.0


@dataclass(frozen=True)
class Fairness:
    """`waits` from one turn of a process to its next one; `most` turns of one other process within a wait,
    and in how many waits (`overtaken`) another process took two or more."""

    waits: int
    most: int
    overtaken: int

    @classmethod
    def of(cls, turns: Iterable[tuple[float, int]]) -> Fairness:
        """`turns` are moment and process. All processes must want turns all the time."""
        waits, most, overtaken = 0, 0, 0
        meanwhile: dict[int, Counter[int]] = {}
        for _, process in sorted(turns):
            others = meanwhile.get(process)
            if others is not None:
                waits += 1
                worst = max(others.values(), default=0)
                most = max(most, worst)
                overtaken += worst > 1
            meanwhile[process] = Counter()
            for waiting, counted in meanwhile.items():
                if waiting != process:
                    counted[process] += 1
        return cls(waits, most, overtaken)


class TurnWatch:
    """Collects the turns that were used while it runs; a context manager."""

    def __init__(self, postgres: PostgresAddress) -> None:
        self._postgres = postgres
        self._turns: dict[int, tuple[float, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> TurnWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def fairness(self) -> Fairness:
        """Of what was collected; to be asked after the block."""
        return Fairness.of(self._turns.values())

    def _watch(self) -> None:
        with contextlib.closing(psycopg2.connect(self._postgres.url(show_password=True))) as connection:
            connection.autocommit = True
            while not self._ended.wait(LOOK_EVERY_SECONDS):
                self._look(connection)
            self._look(connection)

    def _look(self, connection: Any) -> None:
        cursor = connection.cursor()
        # A turn that has no answer yet may still be given back.
        cursor.execute(
            """SELECT turn_id, extract(epoch FROM moment)::float8, backend_pid FROM ops.turns
                WHERE arrived_by < 'infinity' AND backend_pid <> 0"""
        )
        self._turns |= {turn: (moment, process) for turn, moment, process in cursor.fetchall()}
