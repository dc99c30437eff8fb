"""URLs of clusters and Sentinels: which are taken, what is said of the others, and what a wrong server answers."""

from __future__ import annotations

import pytest

from engine import BudgetClient
from engine.errors import BudgetError, InvalidSetting
from engine.settings import Settings
from engine.urls import masked, redis_complaint, redis_places, servers_of
from tests.cluster.load import campaign_of
from tests.cluster.servers import PASSWORD, Cluster
from tests.live.plant import Plant

GOOD = {
    "REDIS_URL": "redis://:pw@hot:6379/0",
    "JOBS_REDIS_URL": "redis://:pw@jobs:6379/0",
    "DATABASE_URL": "postgresql://budget:pw@db:5432/budget",
}


@pytest.mark.parametrize(
    ("url", "hosts", "plain"),
    [
        ("redis+cluster://a:1,b", (("a", 1), ("b", 6379)), "redis://n:5"),
        ("rediss+cluster://u:p%40w@a,[::1]:7/0?ssl_cert_reqs=none", (("a", 6379), ("::1", 7)), "rediss://u:p%40w@n:5/0?ssl_cert_reqs=none"),
        ("redis+sentinel://:pw@a,b:9/my-master/3", (("a", 26379), ("b", 9)), "redis://:pw@n:5/3"),
        ("rediss+sentinel://a/m?sentinel_password=s&client_name=c", (("a", 26379),), "rediss://n:5?client_name=c"),
    ],
)  # fmt: skip
def test_a_good_url_names_its_servers_and_the_url_of_each(
    url: str, hosts: tuple[tuple[str, int], ...], plain: str
) -> None:
    assert redis_complaint(url) is None
    places = redis_places(url)
    assert (places.hosts, places.url_of("n", 5)) == (hosts, plain)
    assert Settings.load({**GOOD, "REDIS_URL": url}, None).redis_url == url


def test_a_sentinel_has_a_login_of_its_own_or_none() -> None:
    places = redis_places("redis+sentinel://u:pw@s/m/0?sentinel_username=x&sentinel_password=secret")
    assert places.sentinel_url_of("s", 26379) == "redis://x:secret@s:26379"
    assert places.master == "m"
    assert redis_places("redis+sentinel://u:pw@s/m").sentinel_url_of("s", 1) == "redis://s:1"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://:Xq7@a:1,b:2/0", "names several servers: write redis+cluster://"),
        ("redis://:Xq7@h/my-master/0", "names a database that is not a number"),
        ("redis+cluster://:Xq7@h/3", "names another database than 0"),
        ("redis+cluster://:Xq7@h?db=3", "names another database than 0"),
        ("redis+cluster://:Xq7@h/my-master/0", "takes no database and no master name"),
        ("redis+cluster://:Xq7@a,,b", "has a place without a host"),
        ("redis+cluster://:Xq7@a:1:2", "has a port that is not a number"),
        ("redis+sentinel://:Xq7@h", "names no master"),
        ("redis+sentinel://:Xq7@h/", "names no master"),
        ("redis+sentinel://:Xq7@h/my master/0", "has a master name with other signs"),
        ("redis+sentinel://:Xq7@h/m/zero", "names a database that is not a number"),
        ("redis+sentinel+cluster://:Xq7@h", "does not begin with redis://"),
        ("unix+cluster:///tmp/s", "does not begin with redis://"),
        ("redis+cluster://:Xq7@h?sentinel_password=Xq7", "needs redis+sentinel://"),
        ("redis+cluster://:Xq7@h?ssl_ca_certs=/x", "needs rediss://"),
        ("redis+cluster://:Xq7@b@h", "has a bare @"),
        ("redis+cluster://:Xq7#@h", "bare"),
    ],
)
def test_a_url_that_mixes_forms_is_refused_in_one_line_without_its_password(url: str, what: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^REDIS_URL ") as refused:
        Settings.load({**GOOD, "REDIS_URL": url}, None)
    assert what in str(refused.value)
    assert "\n" not in str(refused.value) and "Xq7" not in str(refused.value)
    assert "Xq7" not in masked(url)
    with pytest.raises(InvalidSetting) as refused:
        BudgetClient.from_url(url)
    assert "Xq7" not in str(refused.value)


def test_jobs_take_sentinel_and_no_cluster() -> None:
    with pytest.raises(InvalidSetting, match="JOBS_REDIS_URL .* is a cluster, which RQ cannot use"):
        Settings.load({**GOOD, "JOBS_REDIS_URL": "redis+cluster://jobs"}, None)
    url = "redis+sentinel://jobs/m/1"
    assert Settings.load({**GOOD, "JOBS_REDIS_URL": url}, None).jobs_redis_url == url


def test_urls_that_name_the_same_servers_are_recognised() -> None:
    assert servers_of("redis+cluster://a:1,b:2") & servers_of("redis://B:2/5")
    assert not servers_of("redis+sentinel://a/m") & servers_of("redis+sentinel://a/n")
    assert servers_of("redis+sentinel://a,b/m") & servers_of("redis+sentinel://b:26379/m/2")


def said_to(url: str, shards: list[int]) -> set[str]:
    """What a client with this URL is told of a spend in these shards."""
    said = set()
    with BudgetClient.from_url(url, timeout_ms=400) as client:
        for shard in shards:
            try:
                client.record_spend(campaign_of(shard), amount_micros=1)
            except BudgetError as error:
                said.add(str(error))
    assert not any("\n" in line or PASSWORD in line for line in said), said
    return said


def test_a_plain_url_to_a_node_of_a_cluster_names_the_form_to_write(cluster: Cluster, plant: Plant) -> None:
    node = cluster.primaries[0]
    (said,) = said_to(node.url, cluster.shards_of(cluster.primaries[1])[:1])
    assert f"this is a cluster: use redis+cluster://{node.place}" in said


def test_a_cluster_url_to_another_server_says_what_it_is(cluster: Cluster, plant: Plant, hot_url: str) -> None:
    (said,) = said_to(hot_url.replace("redis://", "redis+cluster://"), [1])
    assert "is no cluster: write redis:// instead of redis+cluster://" in said
    (said,) = said_to(f"redis+sentinel://{cluster.primaries[0].place}/m?sentinel_password={PASSWORD}", [1])
    assert "is no Sentinel" in said
    (said,) = said_to("redis+cluster://127.0.0.1:1,127.0.0.1:2", [1])
    assert "no node of Redis cluster 127.0.0.1:1,127.0.0.1:2 answers" in said
    (said,) = said_to(cluster.url.replace(PASSWORD, "wrong-one"), [1])
    assert "refuses the login" in said


def test_one_node_that_is_there_is_enough_to_find_the_others(cluster: Cluster, plant: Plant) -> None:
    url = f"redis+cluster://:{PASSWORD}@127.0.0.1:1,{cluster.replicas[2].place}"
    assert said_to(url, list(range(64))) == set()
