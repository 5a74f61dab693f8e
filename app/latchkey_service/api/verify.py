"""``/v1/verify``: checks of credentials for services that received them."""

from __future__ import annotations

from flask import Response, current_app

from latchkey import current_principal, require_scope
from latchkey.assembly import log_fault
from latchkey.errors import StoreError, TooManyFailures
from latchkey_service.api.json_request import largest_body
from latchkey_service.api.openapi import Resource, answer
from latchkey_service.api.verify_schemas import (
    VerifiedBatch,
    VerifiedObject,
    VerifyBatchBody,
    VerifyBody,
)
from latchkey_service.verify.checking import DescribedRequests

DESCRIBED_REQUESTS = "latchkey_described_requests"
"""The name of the worker's DescribedRequests among the extensions of the application."""
LARGEST_BATCH = 128 << 10
"""Bytes of the body of a batch."""

verify = Resource("verify")


@verify.protected("POST", "/v1/verify", {200: VerifiedObject}, errors=(403, 413, 415))
@require_scope("verify:write")
def verify_credential(body: VerifyBody) -> Response:
    """Check a credential that another service received, and count the use.

    A condition of the key that the body says nothing about is not met. A key of another mode, or of
    an account that the caller may not verify, is answered like an unknown one.
    """
    finding = _requests().check(body.described(), current_principal)
    return answer(VerifiedObject.of(finding), only_set=True)


@verify.protected("POST", "/v1/verify/batch", {200: VerifiedBatch}, errors=(403, 413, 415))
@require_scope("verify:write")
@largest_body(LARGEST_BATCH)
def verify_batch(body: VerifyBatchBody) -> Response:
    """Check several credentials, each like a request of its own.

    The results are in the order of the items. If the database fails for an item, its code is
    `INTERNAL_ERROR`.
    """
    results = [_result_of(item) for item in body.items]
    return answer(VerifiedBatch(results=results), only_set=True)


def _result_of(item: VerifyBody) -> VerifiedObject:
    try:
        return VerifiedObject.of(_requests().check(item.described(), current_principal))
    except TooManyFailures as error:
        return VerifiedObject.refused(error)
    except StoreError as error:
        log_fault(error)
        return VerifiedObject.refused(error)


def _requests() -> DescribedRequests:
    found: DescribedRequests = current_app.extensions[DESCRIBED_REQUESTS]
    return found
