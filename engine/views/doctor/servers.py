"""What doctor finds on each server of a Redis URL: the one, the primary that Sentinel names, or every node of a cluster."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import redis
from redis import exceptions

from engine.domain.ids import SHARDS
from engine.live.transport.routed import finder_of
from engine.live.transport.routes import NoRoute, Place
from engine.settings import masked
from engine.urls import redis_places
from engine.views.board import ANSWER_S
from engine.views.doctor.finding import Finding

LEAST_REDIS: Final = 7
CLOCK_WARN_MS: Final = 1000
_TIMEOUT_S: Final = ANSWER_S
_ASK: Final = "look at it in the provider's console: it must be noeviction, appendonly yes, appendfsync everysec"
_UNEVEN: Final = 1.25
"""A node with so many times the mean of shards does too much of the work."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server that answers. info: its INFO and clock, as far as it permits them."""

    name: str
    url: str
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of a URL that answer, and what was found of all. silent: of several, where those are that hang."""

    answering: list[Server]
    findings: list[Finding]
    silent: tuple[str, ...] = ()


def look_at_servers(name: str, setting: str, url: str) -> Servers:
    """Asks every server side by side. Raises nothing that a server caused."""
    finder = finder_of(url)
    if finder is None:
        only = _look(name, setting, url)
        return Servers([Server(name, url, only.info)] if only.info else [], [only.finding])
    try:
        found = finder.find(None, time.monotonic() + _TIMEOUT_S)
    except NoRoute as nobody:
        return Servers([], [Finding(name, "fail", f"{masked(url)}: {nobody.why}", f"start it, or correct {setting}")])
    places = sorted(dict.fromkeys(found.values()))
    several = redis_places(url).kind == "cluster"
    names = {place: f"{name} {place}" if several else name for place in places}
    with ThreadPoolExecutor(len(places)) as threads:
        looks = list(threads.map(lambda place: _look(names[place], setting, finder.url_of(place)), places))
    answering = [
        Server(names[place], finder.url_of(place), look.info)
        for place, look in zip(places, looks, strict=True)
        if look.info
    ]
    of_cluster = list(_cluster(found, answering)) if several else []
    silent = tuple(str(place) for place, look in zip(places, looks, strict=True) if look.hangs and several)
    return Servers(answering, [*(look.finding for look in looks), *of_cluster], silent)


def _cluster(found: Mapping[str, Place], answering: list[Server]) -> Iterator[Finding]:
    """Whether every shard has a node, how evenly, and what happens to the others when one dies."""
    name = "cluster"
    if len(found) < SHARDS:
        todo = "give their slots to a node: `valkey-cli --cluster fix`"
        yield Finding(name, "fail", f"{SHARDS - len(found)} of {SHARDS} shards have no node", todo)
    shards = Counter(found.values())
    told = ", ".join(f"{place} {count}" for place, count in sorted(shards.items()))
    if max(shards.values()) > _UNEVEN * len(found) / len(shards):
        yield Finding(name, "warn", f"shards a node: {told}", "run `budget-engine cluster balance`")
    else:
        yield Finding(name, "ok", f"shards a node: {told}")
    alone = [server.name for server in answering if not int(server.info.get("connected_slaves", 0))]
    if alone:
        detail = f"without a replica: {', '.join(alone)}; its shards are away when it dies"
        yield Finding("replicas", "warn", detail, "give each primary a replica on another machine")
    whole = [server.name for server in answering if _config(server.url, "cluster-require-full-coverage") == "yes"]
    if whole:
        detail = f"cluster-require-full-coverage is yes at {', '.join(whole)}: while one node is away, all refuse"
        yield Finding(
            "coverage", "warn", detail, "CONFIG SET cluster-require-full-coverage no, and in the configuration"
        )


class _Look(NamedTuple):
    """INFO of one Redis (empty when it is away), and whether it is well."""

    info: Mapping[str, Any]
    finding: Finding
    hangs: bool = False


def _look(name: str, setting: str, url: str) -> _Look:
    """Whether one Redis answers and is new enough."""
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=None
        ) as plain:
            info: dict[str, Any] = {"their_time": plain.time(), "our_ms": int(time.time() * 1000)}
            try:
                info |= plain.info()
            except exceptions.BusyLoadingError:
                raise
            except exceptions.ResponseError:
                # Not permitted, or renamed: a provider's own console tells.
                detail = f"{masked(url)} answers, but does not permit INFO: its version and settings cannot be told"
                return _Look(info, Finding(name, "unknown", detail, _ASK))
    except (exceptions.TimeoutError, TimeoutError):
        detail = f"{masked(url)} hangs: it takes connections and has not answered for {_TIMEOUT_S:g} s"
        return _Look({}, Finding(name, "fail", detail, "look at its machine"), hangs=True)
    except (exceptions.RedisError, OSError, ValueError) as error:
        todo = f"start it, or correct {setting}"
        said = " ".join(str(error).split())
        return _Look({}, Finding(name, "fail", f"{masked(url)} does not answer: {said}", todo))
    valkey = "valkey_version" in info
    version = str(info.get("valkey_version") or info.get("redis_version", "?"))
    detail = f"{masked(url)}, {'Valkey' if valkey else 'Redis'} {version}"
    if not valkey and major(version) < LEAST_REDIS:
        return _Look(info, Finding(name, "fail", detail, f"use Redis or Valkey {LEAST_REDIS}.0 or newer"))
    if info.get("role") != "master":
        return _Look(info, Finding(name, "fail", f"{detail}, a read-only replica", f"point {setting} at the primary"))
    if info.get("loading"):
        return _Look(info, Finding(name, "warn", f"{detail}, still loading its data", "wait until it has"))
    return _Look(info, Finding(name, "ok", detail))


def keeping(server: Server) -> Iterator[Finding]:
    """Whether a hot Redis may lose data: eviction and its append-only file."""
    name, url, info = server.name, server.url, server.info
    policy = info.get("maxmemory_policy") or _config(url, "maxmemory-policy")
    if policy is None:
        yield Finding(
            "eviction", "unknown", f"{name} says neither in INFO nor by CONFIG its maxmemory-policy: cannot tell", _ASK
        )
    elif policy == "noeviction":
        yield Finding("eviction", "ok", "maxmemory-policy noeviction")
    else:
        todo = "CONFIG SET maxmemory-policy noeviction, and in its configuration"
        yield Finding("eviction", "fail", f"maxmemory-policy {policy} lets {name} drop budgets", todo)
    evicted = int(info.get("evicted_keys", 0))
    if evicted:
        yield Finding("evicted keys", "fail", f"{name} has dropped {evicted} keys", "run `budget-engine rebuild --all`")
    if "aof_enabled" not in info:
        yield Finding("append-only file", "unknown", f"{name} does not say: cannot tell", _ASK)
    elif not int(info["aof_enabled"]):
        yield Finding(
            "append-only file",
            "warn",
            f"{name} forgets what PostgreSQL does not have yet when it dies",
            "CONFIG SET appendonly yes, and in its configuration",
        )
    elif str(info.get("aof_last_write_status", "ok")) != "ok":
        yield Finding("append-only file", "fail", "its last write failed", "look at the disk of the hot Redis")
    else:
        yield Finding("append-only file", "ok", "appendonly yes")
        yield _appendfsync(name, _config(url, "appendfsync"))
    if "used_memory" not in info:
        yield Finding("memory", "unknown", f"{name} does not say: cannot tell", _ASK)
        return
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used > most * 0.8:
        yield Finding("memory", "warn", f"{used >> 20} of {most >> 20} MiB used", "give the hot Redis more memory")
    else:
        yield Finding("memory", "ok", f"{used >> 20} MiB used" + (f" of {most >> 20}" if most else ", no maxmemory"))


def _appendfsync(name: str, how: str | None) -> Finding:
    if how is None:
        return Finding("appendfsync", "unknown", f"{name} does not permit CONFIG: cannot tell", _ASK)
    if how == "no":
        detail = (
            "appendfsync no: the death of the machine loses what its system had not written yet, up to half a minute"
        )
        return Finding("appendfsync", "warn", detail, "CONFIG SET appendfsync everysec, and in its configuration")
    return Finding("appendfsync", "ok", f"appendfsync {how}")


def _config(url: str, name: str) -> str | None:
    try:
        with redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, retry=None, decode_responses=True) as plain:
            value: Any = plain.config_get(name)
            return str(value[name]) if name in value else None
    except (exceptions.RedisError, OSError):
        return None


def clock(server: Server) -> Iterator[Finding]:
    """How far a server's clock is from this machine's."""
    info = server.info
    seconds, micros = info["their_time"]
    apart = seconds * 1000 + micros // 1000 - info["our_ms"]
    if abs(apart) > CLOCK_WARN_MS:
        detail = f"{server.name}'s clock is {apart / 1000:+.1f} s from this machine's: its clock decides which day a spend is in"
        yield Finding("clock", "warn", detail, "run NTP on both machines")
    else:
        yield Finding("clock", "ok", f"{server.name} and this machine agree within a second")


def major(version: str) -> int:
    """The first number of a version; 0 where there is none."""
    digits = version.split(".", 1)[0]
    return int(digits) if digits.isdigit() else 0
