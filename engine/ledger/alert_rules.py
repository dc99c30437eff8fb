"""The rules of alerts in PostgreSQL: those that somebody made or changed. Each change is in the trail with its actor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, Engine, text

from engine.domain.alerts import BY_KIND, EVERY_BRAND, AlertKind, Rule, Rules
from engine.errors import InvalidInput, NotFound, shown
from engine.ledger import changes
from engine.ledger.changes import FieldChange
from engine.ledger.database import writing

_ALL: Final = text("SELECT kind, brand_id, levels, enabled FROM alert_rule")
_WRITE: Final = text(
    "INSERT INTO alert_rule (kind, brand_id, levels, enabled, changed_by)"
    " VALUES (:kind, :brand, CAST(:levels AS integer[]), :enabled, :actor) ON CONFLICT (kind, brand_id)"
    " DO UPDATE SET levels = excluded.levels, enabled = excluded.enabled, changed_by = excluded.changed_by, changed_at = now()"
)
_DROP: Final = text("DELETE FROM alert_rule WHERE kind = :kind AND brand_id = :brand")
_BRAND: Final = text("SELECT 1 FROM brand WHERE id = :id")


def read(connection: Connection) -> Rules:
    """All rules, the built-in ones too."""
    return Rules(Rule(row.kind, row.brand_id, tuple(row.levels), row.enabled) for row in connection.execute(_ALL))


def write(
    db: Engine, actor: str, kind: AlertKind, levels: Sequence[int], enabled: bool, brand_id: int = EVERY_BRAND
) -> Rule:
    """Makes or changes a rule. Raises InvalidInput, NotFound for an unknown brand."""
    if kind.name == "health" and brand_id != EVERY_BRAND:
        raise InvalidInput("brand: the rule about the engine is of no brand: leave it out", "brand")
    rule = Rule(kind.name, brand_id, tuple(levels), enabled)
    with writing(db) as conn:
        if brand_id != EVERY_BRAND and conn.execute(_BRAND, {"id": brand_id}).first() is None:
            raise NotFound(f"there is no brand {shown(brand_id)}: `brand list` shows all")
        before = read(conn)
        old = before.of(kind.name, brand_id)
        values = {"kind": kind.name, "brand": brand_id, "levels": list(levels), "enabled": enabled, "actor": actor}
        conn.execute(_WRITE, values)
        if old != rule:
            was = None if old.brand_id != brand_id else words_of(old)
            changes.write(conn, "alert", actor, [FieldChange(brand_id, kind.name, was, words_of(rule))])
    return rule


def drop(db: Engine, actor: str, kind: AlertKind, brand_id: int) -> None:
    """Takes a brand's own rule away, or gives the rule of every brand its built-in levels. Again changes nothing."""
    with writing(db) as conn:
        old = read(conn).of(kind.name, brand_id)
        if conn.execute(_DROP, {"kind": kind.name, "brand": brand_id}).rowcount:
            new = words_of(read(conn).of(kind.name, brand_id))
            changes.write(conn, "alert", actor, [FieldChange(brand_id, kind.name, words_of(old), new)])


def words_of(rule: Rule) -> str:
    """A rule in a line: "80, 100 %", "on", "off"."""
    if not rule.enabled:
        return "off"
    kind = BY_KIND[rule.kind]
    return f"{', '.join(map(str, rule.levels))} {kind.unit}" if kind.has_levels else "on"
