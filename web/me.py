"""A person's own page: who he is, his password, and where he is logged in."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from engine.errors import Conflict, InvalidInput, NotFound, Overloaded
from engine.ledger import sessions, users
from web import messages
from web.access import person
from web.people_forms import OwnPasswordForm
from web.refusals import complain
from web.services import services
from web.throttle import AT_AN_ADDRESS, Key, Throttle

blueprint = Blueprint("me", __name__)


@blueprint.get("/me")
def me() -> ResponseReturnValue:
    """The page."""
    return _page(OwnPasswordForm(formdata=None), 200)


@blueprint.post("/me/password")
def password() -> ResponseReturnValue:
    """Another password, which ends the person's other sessions."""
    who = person()
    if who.user_id is None:
        raise Conflict("you log in with BUDGET_ADMIN_PASSWORD, which is changed where the page is started")
    form = OwnPasswordForm()
    if form.validate_on_submit():
        user = users.one(services().db, who.user_id)
        key = (Key(("own password", str(who.user_id)), AT_AN_ADDRESS),)
        throttle = current_app.extensions["login_throttle"]
        assert isinstance(throttle, Throttle)
        try:
            if (form.password.data or "") != (form.again.data or ""):
                raise InvalidInput("again differs from the new password: type it twice alike", "again")
            if wait := throttle.take(key):
                raise InvalidInput(f"current: too many wrong passwords: try again in {wait} s", "current")
            if not services().people.has_password(user.id, form.current.data or ""):
                raise InvalidInput("current is not your present password", "current")
            throttle.succeeded(key)
            ended = services().people.set_password(g.actor, user, form.password.data or "", but_session=g.session_id)
        except (InvalidInput, Overloaded) as error:
            complain(form, error)
        else:
            others = (
                f"{ended} other session{'s' if ended != 1 else ''} ended." if ended else "No other session was open."
            )
            messages.tell(("done", "Your password is changed."), ("then", others))
            return redirect(url_for("me.me"))
    return _page(form, 422)


@blueprint.post("/me/sessions/<int:session_id>/end")
def end_session(session_id: int) -> ResponseReturnValue:
    """Ends one of the person's own sessions."""
    if not sessions.end_by_id(services().db, session_id, "ended by its owner", of=person()):
        raise NotFound("that session has ended already, or is not yours")
    messages.tell(("done", "The session is ended."))
    return redirect(url_for("me.me"))


def _page(form: Any, status: int) -> ResponseReturnValue:
    who = person()
    db = services().db
    names = {}
    if who.brands is not None:
        names = {b.id: b.name for b in services().catalog.brands(include_archived=True) if who.sees(b.id)}
    shown = render_template(
        "me.html", form=form, who=who, names=names, sessions=sessions.in_force(db, who), this=g.session_id,
        no_login=not g.login_needed, refused=request.method == "POST",
    )  # fmt: skip
    return shown, status
