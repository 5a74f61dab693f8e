"""The page of the boxes that share the database, if several boxes can."""

from __future__ import annotations

from flask import Blueprint, render_template

from latchkey.box.box_states import states_of
from latchkey_service.console.sessions import latchkey

boxes = Blueprint("boxes", __name__, url_prefix="/console/boxes")


@boxes.get("/")
def show() -> str:
    """List the boxes, live ones first."""
    registered = latchkey().store.boxes
    states = [] if registered is None else states_of(registered)
    return render_template("boxes.html", states=states)
