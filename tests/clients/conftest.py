"""The Node client, built once. Where Node is missing its tests skip, and say so; with BUDGET_REQUIRE_TOOLS=1 they fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tools import node_client


@pytest.fixture(scope="session")
def node_folder() -> Path:
    """The folder of the built client."""
    try:
        return node_client.build()
    except node_client.NotThere as why:
        if os.environ.get("BUDGET_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{why}, and BUDGET_REQUIRE_TOOLS=1 asks for it")
        pytest.skip(str(why))
    except subprocess.CalledProcessError as failed:
        pytest.fail(f"the Node client does not build:\n{failed.stdout}")
