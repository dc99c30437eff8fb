"""The commands of `cluster`: show where the shards of a Redis Cluster are, and spread them evenly."""

from __future__ import annotations

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command, Group
from engine.cli.output import note, print_json, print_table


@click.group(cls=Group)
def cluster() -> None:
    """Where the shards of a Redis Cluster are."""


@cluster.command(cls=Command, any_revision=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@click.option("--key-by-key", is_flag=True, help="Move with MIGRATE also where the server can move a slot in one step.")
@pass_app
def balance(app: App, dry_run: bool, key_by_key: bool) -> None:
    """Place the 64 shards evenly on the primaries, those without any included. Spends go on meanwhile."""
    from engine.flows.upkeep.placing import Placer, moves_to_balance
    from engine.settings import hot_redis_url

    placer = Placer(hot_redis_url())
    try:
        before = placer.read()
        moves = moves_to_balance(before)
        for move in moves if not dry_run else ():
            placer.move(move, before.nodes, key_by_key=key_by_key)
            if not app.json:
                note(f"shard {move.shard} moved from {move.source.place} to {move.target.place}")
        after = before if dry_run or not moves else placer.read()
    finally:
        placer.close()
    first, last = before.counts(), after.counts()
    if app.json:
        print_json(
            {
                "moves": [{"shard": m.shard, "from": str(m.source.place), "to": str(m.target.place)} for m in moves],
                "done": not dry_run,
                "shards": {str(node.place): last.get(node, 0) for node in after.nodes},
            }
        )
        return
    print_table(("node", "before", "now"), ((str(n.place), str(first.get(n, 0)), str(last[n])) for n in after.nodes))
    if dry_run and moves:
        click.echo(f"{len(moves)} shards would be moved; without --dry-run they are")
    elif not moves:
        click.echo("nothing to do: no node has more than one shard more than another")
