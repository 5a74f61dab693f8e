from typing import final

from latchkey.check._limits import LimitPlan
from latchkey.credentials.conditions import Conditions, Evaluation
from latchkey.credentials.models import Principal

DIGEST_AT: int
RECORD_HEAD: int

@final
class CacheEntry:
    def __init__(
        self,
        *,
        ticket: int,
        deadline: int,
        digest: bytes,
        principal: Principal,
        revoked: bool,
        conditions: Conditions = ...,
        limits: LimitPlan | None = None,
    ) -> None: ...
    @property
    def ticket(self) -> int: ...
    @property
    def deadline(self) -> int: ...
    @property
    def credential_id(self) -> int: ...
    @property
    def revoked(self) -> bool: ...
    @property
    def principal(self) -> Principal: ...
    @property
    def evaluation(self) -> Evaluation | None: ...
    @property
    def limits(self) -> LimitPlan | None: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def expires_at(self) -> int | None: ...
    def record(self) -> bytes | None: ...
    @staticmethod
    def of_record(lookup: str, record: bytes, ticket: int, deadline: int) -> CacheEntry | None: ...
