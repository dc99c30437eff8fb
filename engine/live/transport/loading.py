"""How a script gets into a server: by SCRIPT LOAD, or by EVAL where a provider has renamed or forbidden that.

EVAL keeps a script as SCRIPT LOAD does. It is called here without keys: then every script of ours ends with an error or a refusal before it
writes (a test calls each so), and the call itself goes on by EVALSHA.
"""

from __future__ import annotations

from redis import exceptions

from engine.live.scripts import Script
from engine.live.transport.connection import Connection, command


def load(script: Script) -> bytes:
    """The bytes that load a script. One reply."""
    return command(("SCRIPT", "LOAD", script.text))


def load_by_eval(script: Script) -> bytes:
    """The same by EVAL. One reply, which tells nothing but a refusal of EVAL itself."""
    return command(("EVAL", script.text, "0"))


def is_refused(error: object) -> bool:
    """Whether an error says that this server has no such command, or not for this login."""
    if isinstance(error, exceptions.NoPermissionError):
        return True
    return isinstance(error, exceptions.ResponseError) and "unknown command" in str(error).lower()


def load_over(link: Connection, script: Script, deadline: float) -> None:
    """Loads a script over a connection. Raises Redis' refusal of both ways."""
    link.send(load(script), deadline)
    try:
        link.receive(deadline)
    except exceptions.ResponseError as refusal:
        if not is_refused(refusal):
            raise
        link.send(load_by_eval(script), deadline)
        try:
            link.receive(deadline)
        except exceptions.ResponseError as error:
            if is_refused(error):
                raise refusal from None
