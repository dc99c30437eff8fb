"""The command line, `budget-engine`: one module a group of commands, each thin over the flows. `run` runs a command
line and returns its exit status.
"""

from __future__ import annotations

import sys
from typing import Final

from engine.cli.group import LazyGroup
from engine.cli.run import run

_COMMANDS: Final = {
    "up": "engine.cli.up:up",
    "demo-traffic": "engine.cli.up:demo_traffic",
    "env": "engine.cli.processes:env",
    "migrate": "engine.cli.processes:migrate",
    "doctor": "engine.cli.checks:doctor",
    "verify": "engine.cli.checks:verify",
    "web": "engine.cli.processes:web",
    "api": "engine.cli.processes:api",
    "worker": "engine.cli.processes:worker",
    "scheduler": "engine.cli.processes:scheduler",
    "brand": "engine.cli.brand:brand",
    "campaign": "engine.cli.campaign:campaign",
    "catalog": "engine.cli.catalog:catalog",
    "flight": "engine.cli.flight:flight",
    "limit": "engine.cli.limit:limit",
    "forecast": "engine.cli.forecast:forecast",
    "curve": "engine.cli.curve:curve",
    "alert": "engine.cli.alert:alert",
    "webhook": "engine.cli.webhook:webhook",
    "operation": "engine.cli.operation:operation",
    "pause-all": "engine.cli.everything:pause_all",
    "resume-all": "engine.cli.everything:resume_all",
    "spend": "engine.cli.spend:spend",
    "replay": "engine.cli.replay:replay",
    "simulate": "engine.cli.simulate:simulate",
    "check": "engine.cli.jobs:check",
    "close-periods": "engine.cli.jobs:close_periods",
    "persist": "engine.cli.jobs:persist",
    "reconcile": "engine.cli.jobs:reconcile",
    "rebuild": "engine.cli.jobs:rebuild",
    "export": "engine.cli.export:export",
    "quarantine": "engine.cli.quarantine:quarantine",
    "user": "engine.cli.user:user",
    "token": "engine.cli.token:token",
    "cluster": "engine.cli.cluster:cluster",
    "scripts": "engine.cli.scripts:scripts",
}

cli = LazyGroup(
    "budget-engine",
    _COMMANDS,
    help="A Redis-native real-time budget engine. Every command takes --json. Settings come from the environment or .env.",
)


def main() -> None:
    """The entry point of the console script and of `python -m engine`."""
    sys.exit(run(cli, sys.argv[1:]))
