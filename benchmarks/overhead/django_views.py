"""The views of the Django site; Django imports this module after it is configured."""

from __future__ import annotations

from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.permissions import HasAPIKey

from benchmarks.overhead.environs import PATH


class Bare(APIView):  # type: ignore[misc]
    """An open view."""

    permission_classes: tuple[type, ...] = ()

    def get(self, request: object) -> Response:
        return Response({"object": "account"})


class Protected(Bare):
    """A view that requires a key."""

    permission_classes = (HasAPIKey,)


urlpatterns = [
    path(PATH.removeprefix("/"), Protected.as_view()),
    path(f"{PATH.removeprefix('/')}/bare", Bare.as_view()),
]
