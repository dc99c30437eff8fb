"""Pages of admins about people: users, roles, brands, sessions, and who tried to log in."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm

from engine.errors import Conflict, InvalidInput, NotFound, Overloaded
from engine.ledger import logins, sessions, tokens, users
from engine.ledger.users import User
from web import messages
from web.access import person
from web.people_forms import NewPasswordForm, NewUserForm, TokenForm, UserForm
from web.query import whole_number
from web.refusals import complain
from web.services import services
from web.status import LARGEST_ID

LATEST: Final = 15
A_PAGE: Final = 100

blueprint = Blueprint("people", __name__)


@blueprint.get("/people")
def people() -> ResponseReturnValue:
    """Users, open sessions and the latest logins."""
    db = services().db
    return render_template(
        "people.html",
        users=users.all_users(db),
        sessions=sessions.in_force(db),
        events=logins.events(db, LATEST),
        tokens=tokens.all_tokens(db),
        brands=_names(),
        shared=bool(services().settings.admin_password),
    )


@blueprint.get("/people/logins")
def login_log() -> ResponseReturnValue:
    """Who tried to log in, from where, and with what outcome."""
    before = whole_number(request.args, "before", LARGEST_ID)
    events = logins.events(services().db, A_PAGE, before)
    older = events[-1].id if len(events) == A_PAGE else None
    return render_template("logins.html", events=events, older=older, before=before)


@blueprint.route("/people/new", methods=["GET", "POST"])
def new() -> ResponseReturnValue:
    """Creates a user."""
    form = NewUserForm()
    first = not services().settings.needs_login and not users.exist(services().db)
    if form.validate_on_submit() and (values := form.values()) is not None:
        role, brands = values
        if first and role != "admin":
            complain(form, InvalidInput("role: the first user must be an admin, who can then make the others", "role"))
        else:
            made = _try(
                form, lambda: services().people.create(g.actor, form.name.data, role, brands, form.password.data or "")
            )
            if made is not None:
                messages.tell(("done", f"User {made.name} created."))
                return redirect(url_for("people.people"))
    return _page("user_form.html", form, user=None, first=first)


@blueprint.route("/people/<int:user_id>", methods=["GET", "POST"])
def edit(user_id: int) -> ResponseReturnValue:
    """A user's role and brands; and the forms of his password and of shutting him out."""
    user = users.one(services().db, user_id)
    form = UserForm()
    if not form.is_submitted():
        form.fill(user, _names())
    elif form.validate() and (values := form.values()) is not None:
        role, brands = values
        if _is_me(user) and role != user.role:
            complain(form, InvalidInput("role: you cannot change your own: ask another admin", "role"))
        else:
            changed = _try(form, lambda: users.change(services().db, g.actor, user_id, role, brands))
            if changed is not None:
                messages.tell(
                    ("done", f"User {user.name} saved."), ("then", "It counts from the next page that he opens.")
                )
                return redirect(url_for("people.people"))
    return _page("user_form.html", form, user=user, password=NewPasswordForm(formdata=None), me=_is_me(user))


@blueprint.post("/people/<int:user_id>/password")
def password(user_id: int) -> ResponseReturnValue:
    """Gives a user another password."""
    user = users.one(services().db, user_id)
    form = NewPasswordForm()
    if form.validate_on_submit():
        kept = g.session_id if _is_me(user) else None
        given = form.password.data or ""
        ended = _try(form, lambda: services().people.set_password(g.actor, user, given, but_session=kept))
        if ended is not None:
            messages.tell(("done", f"{user.name} has a new password."), ("then", _sessions_ended(ended)))
            return redirect(url_for("people.people"))
    shown = UserForm(formdata=None)
    shown.fill(user, _names())
    return _page("user_form.html", shown, user=user, password=form, me=_is_me(user))


@blueprint.post("/people/<int:user_id>/disable")
def disable(user_id: int) -> ResponseReturnValue:
    """Shuts a user out, and ends his sessions."""
    user = users.one(services().db, user_id)
    if _is_me(user):
        raise Conflict("you cannot disable yourself: ask another admin")
    ended = users.set_disabled(services().db, g.actor, user_id, True)
    messages.tell(("done", f"{user.name} is disabled."), ("then", _sessions_ended(ended)))
    return redirect(url_for("people.people"))


@blueprint.post("/people/<int:user_id>/enable")
def enable(user_id: int) -> ResponseReturnValue:
    """Lets a user in again."""
    user = users.one(services().db, user_id)
    users.set_disabled(services().db, g.actor, user_id, False)
    messages.tell(("done", f"{user.name} may log in again."))
    return redirect(url_for("people.people"))


@blueprint.post("/people/sessions/<int:session_id>/end")
def end_session(session_id: int) -> ResponseReturnValue:
    """Ends a session of anybody."""
    if not sessions.end_by_id(services().db, session_id, f"ended by {g.actor}"):
        raise NotFound("that session has ended already, or never was")
    messages.tell(("done", "The session is ended."))
    return redirect(url_for("people.people"))


@blueprint.route("/people/tokens/new", methods=["GET", "POST"])
def new_token() -> ResponseReturnValue:
    """Creates a token of a program, and shows it in this one answer."""
    form, made = TokenForm(), None
    if form.validate_on_submit() and (values := form.token()) is not None:
        scopes, brands = values
        made = _try(form, lambda: tokens.create(services().db, g.actor, form.name.data, scopes, brands))
    shown = render_template("token_form.html", form=form, made=made)
    return shown, 422 if request.method == "POST" and made is None else 200


@blueprint.post("/people/tokens/<int:token_id>/revoke")
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Ends the token of a program for good."""
    ended = tokens.revoke(services().db, g.actor, token_id)
    messages.tell(("done", f"The token {ended.id} of {ended.name} is revoked."))
    return redirect(url_for("people.people"))


def _is_me(user: User) -> bool:
    return user.id == person().user_id


def _names() -> dict[int, str]:
    return {brand.id: brand.name for brand in services().catalog.brands(include_archived=True)}


def _sessions_ended(ended: int) -> str:
    return "No session was open." if not ended else f"{ended} session{'s' if ended > 1 else ''} ended."


def _try(form: FlaskForm, change: Any) -> Any:
    """The result of a change; None where it was refused, with the reason beside its field."""
    try:
        return change()
    except (Conflict, InvalidInput, NotFound, Overloaded) as error:
        complain(form, error)
        return None


def _page(template: str, form: FlaskForm, **values: Any) -> ResponseReturnValue:
    shown = render_template(template, form=form, **{"password": None, "me": False, "first": False, **values})
    return shown, 422 if request.method == "POST" else 200
