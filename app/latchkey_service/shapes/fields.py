"""The field types that requests and objects share, with their validation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from latchkey.credentials.accounts import EXTERNAL_ID_PATTERN
from latchkey.credentials.names import LONGEST_NAME, NAME_PATTERN, check_name
from latchkey.credentials.scopes import SCOPE_PATTERN
from latchkey.credentials.times import format_time, parse_time
from latchkey.credentials.tokens import API_KEY_PATTERN

Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ApiKey = Annotated[str, Field(pattern=API_KEY_PATTERN, examples=["ak_live_0123456789ABCDEFGHIJkl"])]
ExternalId = Annotated[str, Field(pattern=EXTERNAL_ID_PATTERN, examples=["customer-17"])]
Name = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_NAME,
            "pattern": NAME_PATTERN,
            "examples": ["billing service"],
        }
    ),
]
Scope = Annotated[
    str,
    # Not validated here: the error of the domain says what a scope looks like.
    Field(
        json_schema_extra={
            "pattern": SCOPE_PATTERN,
            "examples": ["orders:read", "orders:write:eu-*", "*"],
        }
    ),
]
