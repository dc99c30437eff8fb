"""A bidder's login in Redis can do every call of the client, and nothing that stops, empties or reads the rest of the server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from engine import AsyncBudgetClient, BudgetClient, InvalidInput, Spend
from engine.domain.ids import shard_of
from engine.live.acl import BIDDER, acl_setuser, commands_of
from engine.live.keys import keys_of_brand
from engine.live.scripts import NAMES, script
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.patience import PATIENCE_S

SECOND = CAMPAIGN + 1
TAG = f"budget:{{{shard_of(BRAND)}}}:"


@pytest.fixture
def login(plain: redis.Redis) -> Iterator[Callable[..., str]]:
    """Makes a login as `scripts acl` prints it, and answers its URL; at the end nothing that it did was denied, unless a test says so."""
    made: list[str] = []
    plain.execute_command("ACL", "LOG", "RESET")

    def make(name: str, **options: Any) -> str:
        plain.execute_command("ACL", "SETUSER", *acl_setuser(name, **options), ">secret")
        made.append(name)
        place = plain.connection_pool.connection_kwargs
        return f"redis://{name}:secret@{place['host']}:{place['port']}/{place.get('db', 0)}"

    yield make
    for name in made:
        plain.execute_command("ACL", "DELUSER", name)


def denials(plain: redis.Redis) -> list[tuple[str, str]]:
    log: Any = plain.acl_log()
    return [(str(line["reason"]), str(line["object"])) for line in log]


def test_every_call_of_the_sync_client_works_with_the_bidders_login_and_none_is_denied(
    plant: Plant, plain: redis.Redis, login: Callable[..., str], tmp_path: Path
) -> None:
    plant.brand(daily="1000")
    plant.campaign(SECOND)
    url = login("bidder")
    plain.script_flush()
    with BudgetClient.from_url(url, timeout_ms=2000) as client:
        assert client.try_spend(CAMPAIGN, "4", event_id="win-1").outcome == "accepted"
        assert client.record_spend(CAMPAIGN, "7", event_id="win-2").outcome == "recorded"
        assert {r.outcome for r in client.record_spends([Spend(c, "1") for c in (CAMPAIGN, SECOND) * 20])} == {
            "recorded"
        }
        assert (
            client.try_spends([Spend(CAMPAIGN, "1", event_id=f"e-{i}") for i in range(300)])[-1].outcome == "accepted"
        )
        assert client.refund(CAMPAIGN, "7", "win-2").outcome == "refunded"
        assert client.status(CAMPAIGN).status == "active"
        assert [client.reserve(CAMPAIGN, "1", 60, name).outcome for name in "ab"] == ["accepted"] * 2
        assert client.settle(f"{CAMPAIGN}:a", "0.5").outcome == "settled"
        assert client.release(f"{CAMPAIGN}:b").outcome == "released"
        assert client.reserve(CAMPAIGN, "1", 0.001, "short").outcome == "accepted"
        with client.lease(CAMPAIGN, "2", 60, spool=tmp_path) as lease:
            assert lease.try_spend("1")
        assert client.replay_spool(tmp_path).files == 0
        with client.watch() as watch:
            assert watch.wait_ready(PATIENCE_S), watch.why
            assert watch.may_bid(CAMPAIGN)
            assert client.record_spend(CAMPAIGN, "2000").reasons == ("daily_budget",)
            assert watch.wait_ready(PATIENCE_S)
        plain.delete(keys_of_brand(BRAND).brand(BRAND))
        assert client.record_spend(CAMPAIGN, "1").outcome == "not_ready"
    assert denials(plain) == []


def test_every_call_of_the_async_client_works_with_the_bidders_login_and_none_is_denied(
    plant: Plant, plain: redis.Redis, login: Callable[..., str], tmp_path: Path
) -> None:
    plant.brand(daily="1000")

    async def spend(url: str) -> None:
        async with AsyncBudgetClient.from_url(url, timeout_ms=2000) as client:
            many = await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(200)))
            assert {result.outcome for result in many} == {"recorded"}
            assert (await client.try_spends([Spend(CAMPAIGN, "1")] * 10))[0].outcome == "accepted"
            assert (await client.record_spend(CAMPAIGN, "3", event_id="win-1")).outcome == "recorded"
            assert (await client.refund(CAMPAIGN, "3", "win-1")).outcome == "refunded"
            assert (await client.reserve(CAMPAIGN, "1", 60, "a")).outcome == "accepted"
            assert (await client.settle(f"{CAMPAIGN}:a", "1")).outcome == "settled"
            assert (await client.status(CAMPAIGN)).status == "active"
            lease = await client.lease(CAMPAIGN, "2", 60, spool=tmp_path)
            assert lease.try_spend("1")
            lease.close()
            watch = client.watch(brands=[BRAND])
            assert await asyncio.to_thread(watch.wait_ready, 10), watch.why
            watch.close()

    plain.script_flush()
    asyncio.run(spend(login("bidder")))
    assert denials(plain) == []


def test_a_watcher_sees_what_may_run_and_cannot_spend(
    plant: Plant, plain: redis.Redis, login: Callable[..., str]
) -> None:
    plant.brand(daily="10")
    with BudgetClient.from_url(login("watcher", read_only=True), timeout_ms=500) as client:
        with client.watch() as watch:
            assert watch.wait_ready(PATIENCE_S), watch.why
            assert watch.may_bid(CAMPAIGN)
        assert client.status(CAMPAIGN).status == "active"
        assert denials(plain) == []
        with pytest.raises(Exception, match="permission|NOPERM"):
            client.record_spend(CAMPAIGN, "1")
    assert plant.spent() == 0


REFUSED = [
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", "1000"),
    ("CLIENT", "UNPAUSE"),
    ("CLIENT", "LIST"),
    ("CLIENT", "NO-EVICT", "on"),
    ("CLIENT", "TRACKING", "on"),
    ("CLIENT", "REPLY", "OFF"),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("CONFIG", "REWRITE"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SWAPDB", "0", "1"),
    ("SELECT", "1"),
    ("DEBUG", "SLEEP", "1"),
    ("SHUTDOWN", "NOSAVE"),
    ("SAVE",),
    ("BGSAVE",),
    ("BGREWRITEAOF",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("FAILOVER",),
    ("CLUSTER", "INFO"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "bidder", "+@all"),
    ("ACL", "LOG", "RESET"),
    ("MODULE", "LIST"),
    ("MONITOR",),
    ("SLOWLOG", "GET"),
    ("LATENCY", "RESET"),
    ("MEMORY", "PURGE"),
    ("INFO",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("DBSIZE",),
    ("SCRIPT", "FLUSH"),
    ("SCRIPT", "KILL"),
    ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('f', function() return 1 end)"),
    ("FUNCTION", "FLUSH"),
    ("EVAL", "return 1", "0"),
    ("DEL", f"{TAG}shard"),
    ("SET", f"{TAG}shard", "x"),
    ("GET", f"{TAG}shard"),
    ("RENAME", f"{TAG}shard", f"{TAG}other"),
    ("EXPIRE", f"{TAG}shard", "1"),
    ("RESTORE", f"{TAG}x", "0", "x"),
    ("DUMP", f"{TAG}shard"),
    ("COPY", f"{TAG}shard", f"{TAG}other"),
    ("XTRIM", f"{TAG}journal", "MAXLEN", "0"),
    ("XDEL", f"{TAG}journal", "1-1"),
    ("XREAD", "STREAMS", f"{TAG}journal", "0"),
    ("XRANGE", f"{TAG}journal", "-", "+"),
    ("HGETALL", f"{TAG}shard"),
    ("HGET", "rq:job:x", "data"),
    ("HSET", "rq:job:x", "data", "x"),
    ("HSET", "budget:shard", "n", "1"),
    ("PUBLISH", "news", "x"),
    ("PUBLISH", f"{TAG}other", "x"),
    ("PSUBSCRIBE", "*"),
    ("SUBSCRIBE", "__keyspace@0__:*"),
    ("SSUBSCRIBE", "x"),
    ("PUBSUB", "CHANNELS"),
    ("BLPOP", f"{TAG}x", "0"),
    ("MIGRATE", "127.0.0.1", "1", f"{TAG}shard", "0", "1"),
    ("OBJECT", "FREQ", f"{TAG}shard"),
]
"""What nobody needs who only spends."""


@pytest.mark.parametrize("who", ["bidder", "watcher"])
@pytest.mark.parametrize("command", REFUSED, ids=lambda command: " ".join(command[:2]))
def test_a_bidders_login_is_refused(
    command: tuple[str, ...], who: str, plain: redis.Redis, login: Callable[..., str]
) -> None:
    url = login(who, read_only=who == "watcher")
    # First without doing it: a hole must fail this test and not end the server.
    asked = plain.execute_command("ACL", "DRYRUN", who, *command)
    assert b"no permissions" in asked, asked
    # A server may refuse DEBUG to everybody, before it asks who it is.
    with (
        redis.Redis.from_url(url) as bidder,
        pytest.raises(redis.exceptions.ResponseError, match="permission|DEBUG command not allowed"),
    ):
        bidder.execute_command(*command)


@pytest.mark.parametrize(
    "command",
    [
        ("HSET", f"{TAG}shard", "n", "1"),
        ("XADD", f"{TAG}journal", "*", "f", "1"),
        ("UNLINK", f"{TAG}shard"),
        ("PUBLISH", f"{TAG}changes", "x"),
        ("HGET", f"{TAG}holds:81", "x"),
        ("TYPE", f"{TAG}journal"),
    ],
    ids=lambda command: command[0],
)
def test_a_watchers_login_writes_nothing_and_reads_plans_only(
    command: tuple[str, ...], plain: redis.Redis, login: Callable[..., str]
) -> None:
    with (
        redis.Redis.from_url(login("watcher", read_only=True)) as watcher,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        watcher.execute_command(*command)


def test_a_login_that_may_do_too_much_is_narrowed_and_keeps_its_password(
    plain: redis.Redis, login: Callable[..., str]
) -> None:
    url = login("bidder")
    plain.execute_command("ACL", "SETUSER", "bidder", "+@all", "~*", "&*", "(+@all ~*)")
    plain.execute_command("ACL", "SETUSER", *acl_setuser("bidder"))
    with redis.Redis.from_url(url) as bidder:
        assert bidder.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            bidder.execute_command("FLUSHALL")


def test_a_database_other_than_0_is_reached_only_when_it_is_named(login: Callable[..., str]) -> None:
    for db, allowed in ((0, False), (5, True)):
        with redis.Redis.from_url(login("bidder", db=db).rpartition("/")[0] + "/5") as bidder:
            if allowed:
                assert bidder.ping()
            else:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    bidder.ping()


@pytest.mark.parametrize("name", ["default", "", "a b", "x>y", "a" * 65, "bidder\nACL SETUSER default off", "-x", "é"])
def test_a_name_that_is_no_login_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not a name for a login") as refused:
        acl_setuser(name)
    assert "\n" not in str(refused.value)


def test_every_command_in_a_script_is_spelled_out_so_that_the_list_is_whole(plain: redis.Redis) -> None:
    for name in NAMES:
        calls = re.findall(r"redis\.p?call\(([^,)]*)", script(name).text)
        assert all("'" in call for call in calls), name
        assert commands_of(name), name


def test_nothing_that_writes_is_in_a_watchers_list(plain: redis.Redis) -> None:
    known: Any = plain.command()
    named = {word[1:] for word in acl_setuser("watcher", read_only=True) if word[0] == "+"}
    plain_names = {name for name in named if "|" not in name}
    assert plain_names <= set(known)
    assert {name for name in plain_names if "write" in known[name]["flags"]} == set()
    assert "write" in known["hset"]["flags"], "the server tells"


def test_the_bidders_scripts_are_those_that_clients_name() -> None:
    """What `engine/client` calls, and what it uses of `engine/live`: all but the modules of jobs and pages."""
    engine = Path(__file__).resolve().parents[2] / "engine"
    admin = {"admin.py", "repair.py", "export.py", "registry.py", "scripts.py", "acl.py", "journal.py", "inspect.py"}
    named = {
        found
        for path in [*(engine / "client").rglob("*.py"), *(engine / "live").rglob("*.py")]
        if path.name not in admin
        for found in re.findall(r'script\("(\w+)"\)', path.read_text(encoding="utf-8"))
    }
    assert named | {"record_spends", "try_spends"} == set(BIDDER)
