"""One question to one server over a connection of its own: who has which shard."""

from __future__ import annotations

from typing import Any

import redis
from redis import exceptions

from engine.live.transport.connection import Address


def ask_once(address: Address, timeout_s: float, *words: str) -> Any:
    """The reply. An error that the server answers is returned. timeout_s: for connecting, login and reply, each. Raises redis' errors, OSError."""
    connection = address.connection(socket_timeout=timeout_s, socket_connect_timeout=timeout_s, health_check_interval=0)
    try:
        connection.connect()
        connection.send_command(*words)
        try:
            return connection.read_response(timeout=timeout_s)
        except exceptions.ResponseError as error:
            return error
    finally:
        connection.disconnect()


def address_of(url: str) -> Address:
    """An address that `ask_once` takes."""
    return Address(url, redis.ConnectionPool)
