"""The turns of changes on PostgreSQL: their waits, and processes that stop in their turn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import closing
from types import FrameType

import pytest
from psycopg.pq.abc import PGconn

from latchkey.errors import StoreError
from latchkey.store.postgresql.connections import PostgresqlConnections, driver_of
from latchkey.store.postgresql.location import location_of
from tests.support.faults.service_processes import wait_until
from tests.support.postgresql import Postgresql


def test_a_process_waits_for_one_turn_at_a_time(
    postgresql: Postgresql, postgresql_url: str
) -> None:
    location = location_of(postgresql_url)
    connections = PostgresqlConnections(location, pool_size=3, lookup_timeout=5, write_timeout=2)
    failures = []

    def change() -> None:
        try:
            with connections.writing():
                pass
        except StoreError as error:
            failures.append(error.detail)

    with closing(connections):
        with connections.writing() as connection:
            threads = [threading.Thread(target=change) for _ in range(2)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                # So that the server does not end the transaction.
                connection.exec_driver_sql("SELECT pg_sleep(0.05)")
        change()
    assert failures == ["other changes of this process did not end in time"] * 2


def test_a_change_waits_no_longer_for_its_turn_because_others_of_its_process_came_first(
    postgresql_url: str,
) -> None:
    """The time of the first wait is taken from the second one, but not from the idle time."""
    location = location_of(postgresql_url)
    connections = PostgresqlConnections(location, pool_size=2, lookup_timeout=5, write_timeout=4)
    limits: list[int] = []

    def change() -> None:
        with connections.writing() as connection:
            shown = "SELECT setting::integer FROM pg_settings WHERE name = %s"
            for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
                limits.append(connection.exec_driver_sql(shown, (name,)).scalar_one())

    with closing(connections):
        other = threading.Thread(target=change)
        with connections.writing() as connection:
            other.start()
            wait_until(lambda: waits_for_its_process(other), "the other change")
            connection.exec_driver_sql("SELECT pg_sleep(0.05)")
        other.join()
    turn, idle = limits
    assert 400 <= turn < 4000
    assert idle == 2000


def waits_for_its_process(thread: threading.Thread) -> bool:
    """Whether a thread has begun to wait for the other changes of its process."""
    frame: FrameType | None = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code.co_name == "alone" and "since" in frame.f_locals


def within_a_pipeline(protocol: PGconn) -> None:
    protocol.enter_pipeline_mode()
    protocol.send_query_params(b"SELECT 1", None)
    protocol.send_flush_request()
    protocol.flush()


def after_a_pipeline(protocol: PGconn) -> None:
    """As the driver does: it sends the statements first, then a request for the results."""
    within_a_pipeline(protocol)
    protocol.pipeline_sync()
    protocol.send_flush_request()
    protocol.flush()


@pytest.mark.parametrize("place", [within_a_pipeline, after_a_pipeline])
def test_a_turn_of_a_process_that_is_stopped_is_ended(
    postgresql_url: str, place: Callable[[PGconn], None]
) -> None:
    """Also where the server waits for the client without a limit."""
    location = location_of(postgresql_url)
    connections = PostgresqlConnections(location, pool_size=1, lookup_timeout=5, write_timeout=60)
    stopped = PostgresqlConnections(location, pool_size=1, lookup_timeout=5, write_timeout=60)
    is_over = threading.Event()

    def change() -> None:
        with connections.writing() as connection:
            connection.exec_driver_sql("SELECT 1")
        is_over.set()

    def looks_after() -> bool:
        connections.look_after()
        return is_over.is_set()

    def hold() -> None:
        with stopped.writing() as connection:
            place(driver_of(connection).pgconn)
            other = threading.Thread(target=change)
            other.start()
            try:
                wait_until(looks_after, "the turn")
            finally:
                other.join()

    with closing(connections), closing(stopped):
        with pytest.raises(StoreError):
            hold()
