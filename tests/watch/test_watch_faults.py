"""Redis goes away: the picture says stale, fails as it was told to, keeps time, and is healed by a new snapshot."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis

from engine import BudgetClient
from engine.client.watch.watch import STALE_AFTER_S
from engine.domain.periods import ms_of
from engine.domain.schedule import DAYS, Schedule
from engine.live.admin import LiveRedis
from engine.live.transport.pool import ConnectionPool
from engine.local.servers import EmbeddedServers
from tests.faults.figures import PROPERTY
from tests.in_memory import folder_in_memory
from tests.live.plant import CAMPAIGN, Plant
from tests.patience import PATIENCE_S, in_time
from tests.proxy import Proxy
from tests.watch.conftest import SetClock, until

OTHER = CAMPAIGN + 1
Note = Callable[[str], None]


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Puts what was measured into the summary of the run."""
    name = request.node.name.removeprefix("test_")
    return lambda text: request.node.user_properties.append((PROPERTY, f"{name}: {text}"))


@pytest.fixture
def own_hot() -> Iterator[Any]:
    """A Redis of the test's own, which it may kill."""
    folder = Path(tempfile.mkdtemp(prefix="own servers ", dir=folder_in_memory()))
    embedded = EmbeddedServers(folder / "data")
    try:
        embedded.start()
        yield embedded.all[0]
    finally:
        embedded.remove()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_killed_redis_is_noticed_at_once_and_healed_with_what_changed_meanwhile(own_hot: Any, note: Note) -> None:
    wire = ConnectionPool(own_hot.url)
    with redis.Redis.from_url(own_hot.url) as plain, BudgetClient(wire, 2000) as client:
        plant = Plant(LiveRedis(wire), plain)
        plant.brand(daily="10")
        plant.campaign(OTHER, enabled=False)
        with client.watch() as closed, client.watch(fail_open=True) as opened:
            assert closed.wait_ready(PATIENCE_S)
            assert opened.wait_ready(PATIENCE_S)
            assert closed.may_bid(CAMPAIGN)
            assert opened.may_bid(CAMPAIGN)
            own_hot.process.send_signal(signal.SIGKILL)
            noticed = until(lambda: closed.stale and opened.stale)
            assert not closed.may_bid(CAMPAIGN)
            assert closed.status(CAMPAIGN).reasons == ("stale",)
            assert closed.status(OTHER).reasons == ("manual", "stale")
            assert closed.status(CAMPAIGN).status == "paused"
            assert [opened.may_bid(CAMPAIGN), opened.may_bid(OTHER), opened.may_bid(OTHER + 1)] == [True, False, False]
            assert opened.status(CAMPAIGN).status == "active"
            assert str(urlsplit(own_hot.url).port) in closed.why
            own_hot.process.wait()
            own_hot.stop()
            with client.watch(fail_open=True) as late:
                assert not late.wait_ready(0.3)
                assert late.stale
                assert not late.may_bid(CAMPAIGN)
            own_hot.launch()
            own_hot.wait(lambda: False)
            began = time.perf_counter()
            plant.campaign(CAMPAIGN, version=2, enabled=False)
            plant.campaign(OTHER, version=2)
            assert closed.wait_ready(PATIENCE_S), closed.why
            assert opened.wait_ready(PATIENCE_S), opened.why
            healed = (time.perf_counter() - began) * 1000
            for watch in (closed, opened):
                until(lambda watch=watch: watch.may_bid(OTHER) and not watch.may_bid(CAMPAIGN))  # type: ignore[misc]
            client.record_spend(CAMPAIGN, "10")
            until(lambda: not closed.may_bid(OTHER) and not opened.may_bid(OTHER))
    note(f"noticed after {noticed:.1f} ms, whole again {healed:.0f} ms after Redis was back")


def test_a_connection_that_dies_in_silence_is_noticed_after_three_seconds(
    plant: Plant, hot_url: str, hot_port: int, note: Note
) -> None:
    proxy = Proxy(hot_port)
    parts = urlsplit(hot_url)
    url = urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(proxy.port))))
    plant.brand()
    with BudgetClient.from_url(url) as client, client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert watch.may_bid(CAMPAIGN)
        proxy.silent = True
        heard_s = time.monotonic() - watch.age_ms / 1000
        plant.campaign(CAMPAIGN, version=2, enabled=False)
        until(lambda: not watch.may_bid(CAMPAIGN))
        took = time.monotonic() - heard_s
        assert took > STALE_AFTER_S - 0.5, "a pause of the network is no silence"
        assert in_time(took, STALE_AFTER_S)
        assert watch.stale
        assert watch.age_ms >= 1900
        proxy.silent = False
        plant.campaign(CAMPAIGN, version=3)
        plant.campaign(OTHER)
        healed = until(lambda: watch.may_bid(CAMPAIGN)) / 1000
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert watch.may_bid(OTHER)
    proxy.close()
    note(f"silent for {took:.2f} s until it was stale, healed in {healed:.2f} s")


def test_a_channel_that_alone_falls_silent_is_noticed_too(
    plant: Plant,
    wire: ConnectionPool,
    client: BudgetClient,
    hot_url: str,
    hot_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = Proxy(hot_port)
    parts = urlsplit(hot_url)
    far = ConnectionPool(urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(proxy.port)))))
    monkeypatch.setattr(wire, "own_connection", far.own_connection)
    plant.brand()
    with client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        proxy.silent = True
        heard_s = time.monotonic() - watch.age_ms / 1000
        plant.campaign(CAMPAIGN, version=2, enabled=False)
        until(lambda: not watch.may_bid(CAMPAIGN))
        took = time.monotonic() - heard_s
        assert took > STALE_AFTER_S - 0.5, "a pause of the network is no silence"
        assert in_time(took, STALE_AFTER_S)
        assert watch.stale
        proxy.silent = False
        assert watch.wait_ready(PATIENCE_S), watch.why
        assert watch.status(CAMPAIGN).reasons == ("manual",)
    proxy.close()


def test_a_window_ends_on_its_minute_with_redis_away_when_failing_open(
    plant: Plant, hot_url: str, hot_port: int, set_clock: SetClock
) -> None:
    proxy = Proxy(hot_port)
    parts = urlsplit(hot_url)
    url = urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(proxy.port))))
    end_ms = ms_of(datetime(2036, 11, 24, 1, tzinfo=UTC))  # a Monday
    set_clock(end_ms - 9000)
    plant.brand(schedule=Schedule.parse({"days": [DAYS[0]], "start_time": "00:00", "end_time": "01:00"}))
    plant.campaign(OTHER)
    with BudgetClient.from_url(url) as client, client.watch(fail_open=True) as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        proxy.silent = True
        until(lambda: watch.stale)
        assert watch.may_bid(CAMPAIGN)
        until(lambda: not watch.may_bid(CAMPAIGN))
        late_ms = plant.live.now_ms() - end_ms
        assert late_ms > -50 and in_time(late_ms / 1000, 0.5)
        assert watch.stale
        assert watch.may_bid(OTHER)
    proxy.close()


def test_a_connection_that_is_cut_is_replaced_and_nothing_falls_between(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    with client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S)
        for version in range(2, 62):
            plant.plain.client_kill_filter(_type="pubsub")
            until(lambda: watch.stale)
            time.sleep(version % 20 * 0.005)  # before, while and after it listens and reads again
            plant.campaign(CAMPAIGN, version=version, enabled=version % 2 > 0)
            until(lambda: not watch.stale and watch.status(CAMPAIGN).reasons == (() if version % 2 else ("manual",)))  # noqa: B023


def test_a_login_that_may_not_listen_says_so(plant: Plant, hot_url: str) -> None:
    plant.brand()
    plant.plain.execute_command("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "resetchannels", "+@all")
    parts = urlsplit(hot_url)
    url = urlunsplit(parts._replace(netloc=f"deaf:pw@127.0.0.1:{parts.port}"))
    try:
        with BudgetClient.from_url(url) as client, client.watch() as watch:
            until(lambda: "channel" in watch.why or "permission" in watch.why.lower())
            assert watch.stale
            assert not watch.may_bid(CAMPAIGN)
    finally:
        plant.plain.execute_command("ACL", "DELUSER", "deaf")


def test_a_login_whose_scripts_are_refused_gets_a_line_now_and_then_and_not_twenty_a_second(
    plant: Plant, hot_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    plant.brand()
    plant.plain.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", "-evalsha", "-eval")
    parts = urlsplit(hot_url)
    url = urlunsplit(parts._replace(netloc=f"mute:pw@127.0.0.1:{parts.port}"))
    try:
        with BudgetClient.from_url(url) as client, client.watch() as watch:
            until(lambda: "permission" in watch.why.lower())
            began, connections = time.monotonic(), plant.plain.info("stats")["total_connections_received"]  # type: ignore[index]
            time.sleep(3)
            took_s = time.monotonic() - began
            made = plant.plain.info("stats")["total_connections_received"] - connections  # type: ignore[index]
            assert watch.stale and not watch.may_bid(CAMPAIGN)
        assert made <= 4 * took_s, "nor does it connect twenty times a second"
        lines = [record for record in caplog.records if "watch stale" in record.getMessage()]
        assert len(lines) == 1, [line.getMessage() for line in lines]
        # The login may call scripts from now on: the watch heals by itself.
        with BudgetClient.from_url(url) as client, client.watch() as watch:
            until(lambda: watch.stale and "permission" in watch.why.lower())
            plant.plain.execute_command("ACL", "SETUSER", "mute", "+evalsha")
            assert watch.wait_ready(PATIENCE_S)
    finally:
        plant.plain.execute_command("ACL", "DELUSER", "mute")
