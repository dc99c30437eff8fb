"""Forms of users: role, brands and passwords. The engine checks what they carry, and refusals are shown beside their field."""

from __future__ import annotations

import re
from typing import Final

from flask_wtf import FlaskForm
from wtforms import PasswordField, RadioField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice

from engine.domain.people import Role, check_role
from engine.domain.tokens import Scope, check_scopes
from engine.errors import BudgetError, InvalidInput, NotFound, shown
from engine.ledger.records import BrandRecord
from engine.ledger.users import User
from web.refusals import complain, missing
from web.services import services

ROLE_WORDS: Final = (
    SelectChoice("viewer", "Viewer: reads, and changes nothing"),
    SelectChoice("operator", "Operator: changes brands and campaigns"),
    SelectChoice("admin", "Admin: everything, and people and jobs"),
)
SCOPE_WORDS: Final = (
    SelectChoice("spend", "Spend: report spends, holds and refunds"),
    SelectChoice("read", "Read: brands, campaigns and reports"),
    SelectChoice("write", "Write: change brands and campaigns"),
    SelectChoice("admin", "Admin: users and tokens"),
)
ALL: Final = "all"
SOME: Final = "some"
_ID: Final = re.compile(r"([0-9]{1,19})(?:\s|$)")


def _text(data: object) -> str:
    return data.strip() if isinstance(data, str) else ""


class UserForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A user's role and the brands that he sees."""

    role = RadioField("Role", choices=ROLE_WORDS, validate_choice=False)
    scope = RadioField(
        "Sees",
        choices=(SelectChoice(ALL, "Every brand"), SelectChoice(SOME, "These brands only")),
        validate_choice=False,
    )
    brands = TextAreaField(
        "Brands", filters=[_text], description="One a line: an id, ext: and an external id, or a name."
    )

    def fill(self, user: User, names: dict[int, str]) -> None:
        """The user as he is. names: brands' names by id."""
        self.role.data = user.role
        self.scope.data = ALL if user.brands is None else SOME
        self.brands.data = "\n".join(f"{id_} {names.get(id_, '')}".strip() for id_ in user.brands or ())

    def values(self) -> tuple[Role, list[int] | None] | None:
        """Role and brands, None for every brand; None when a field is wrong, and all of these are marked."""
        missing(self, "role", "scope")
        try:
            role = check_role(self.role.data)
        except InvalidInput as error:
            complain(self, error)
        if self.scope.data not in (ALL, SOME):
            complain(self, InvalidInput(f"scope {shown(self.scope.data)} is neither {ALL} nor {SOME}", "scope"))
        brands = self._brands() if self.scope.data == SOME else None
        return None if self.errors else (role, brands)

    def _brands(self) -> list[int]:
        lines = [line.strip() for line in (self.brands.data or "").splitlines() if line.strip()]
        known = services().catalog.brands(include_archived=True) if lines else []
        found = []
        for line in lines:
            try:
                found.append(_brand(line, known))
            except BudgetError as error:
                complain(self, error, "brands")
        if not lines:
            complain(self, InvalidInput("brands: name at least one brand, or choose every brand", "brands"))
        return found


def named_brand(line: str) -> int:
    """The brand that a person names: by its id, ext: and an external id, or a name. Raises NotFound, InvalidId."""
    return _brand(line, services().catalog.brands(include_archived=True))


def _brand(line: str, known: list[BrandRecord]) -> int:
    """The brand of a line: by its id, its external id or its name. Raises NotFound, InvalidId."""
    if number := _ID.match(line):
        wanted = int(number[1])
        if any(brand.id == wanted for brand in known):
            return wanted
    elif line.startswith("ext:"):
        return services().catalog.resolve_brand(line)
    named = [brand.id for brand in known if brand.name == line]
    in_use = [brand.id for brand in known if brand.name == line and not brand.archived]
    if len(in_use or named) == 1:
        return (in_use or named)[0]
    raise NotFound(f"there is no brand {shown(line)}: give an id that the list of budgets shows")


class NewUserForm(UserForm):
    """A new user, with a first password."""

    name = StringField("Name", filters=[_text], description="To log in with; every change is kept with it.")
    password = PasswordField(
        "First password", description="12 characters or more. It can be changed on the page under the name."
    )


class TokenForm(UserForm):
    """A new token of a program: its name, what it may do, and the brands that it sees."""

    role = None
    name = StringField("Program", filters=[_text], description="Every change is kept with it.")
    scopes = SelectMultipleField("May", choices=SCOPE_WORDS, validate_choice=False)

    def token(self) -> tuple[tuple[Scope, ...], list[int] | None] | None:
        """Scopes and brands as the engine takes them; None where something is wrong, and fields are marked."""
        missing(self, "scope")
        scopes: tuple[Scope, ...] = ()
        try:
            scopes = check_scopes(self.scopes.data or (), "scopes")
        except InvalidInput as error:
            complain(self, error)
        if self.scope.data not in (ALL, SOME):
            complain(self, InvalidInput(f"scope {shown(self.scope.data)} is neither {ALL} nor {SOME}", "scope"))
        brands = self._brands() if self.scope.data == SOME else None
        return None if self.errors else (scopes, brands)


class NewPasswordForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A password that an admin gives to a user."""

    password = PasswordField("New password", description="12 characters or more. It ends the user's sessions.")


class OwnPasswordForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A password that a user gives to himself."""

    current = PasswordField("Present password")
    password = PasswordField("New password", description="12 characters or more. It ends your other sessions.")
    again = PasswordField("New password again")
