"""The tables of every database, in SQLAlchemy Core; the migrations create them.

Times are whole milliseconds since 1970 in UTC, so that they compare and sort exactly in every
database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of exactly this type.
_ID = BigInteger().with_variant(Integer, "sqlite")

# The customers that credentials belong to. AUTOINCREMENT: the number is the order of creation, and
# a cursor of a listing. ``instance`` is 1 for the instance account and 0 for all others.
account = Table(
    "account",
    metadata,
    Column("number", _ID, primary_key=True),
    Column("id", String(27), nullable=False, unique=True),
    Column("name", String(100)),
    Column("external_id", String(255), unique=True),
    Column("metadata", String),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("erased_at", BigInteger),
    Column("instance", Integer, nullable=False, server_default="0"),
    # JSON, by mode; NULL for none. The ids in it are those of the rows of ``limit_state``.
    Column("limits", String),
    Index(
        "uq_account_instance",
        "instance",
        unique=True,
        sqlite_where=text("instance = 1"),
        postgresql_where=text("instance = 1"),
    ),
    sqlite_autoincrement=True,
)

credential = Table(
    "credential",
    metadata,
    # AUTOINCREMENT: without it SQLite would give the highest id out again after a delete.
    Column("id", _ID, primary_key=True),
    Column("api_key", String(30), nullable=False, unique=True),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("derivation_id", String(16), nullable=False),
    Column("account_id", String(27), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("name", String(100)),
    Column("scopes", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    # The key of the successor. The original ``expires_at``, before the first rotation, is
    # meaningful only if there is a successor.
    Column("rotated_to", String(30)),
    Column("original_expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("first_used_at", BigInteger),
    # "derived" from one of our keys, or "imported" as the hash of another system's token.
    Column("origin", String(8), nullable=False, server_default="derived"),
    # JSON, of the conditions that are set; NULL for none, and so for the operator's metadata.
    Column("conditions", String),
    Column("metadata", String),
    # JSON, with the ids of the rows of ``limit_state``; NULL for none. ``limits_of`` is the id of
    # the credential whose limits apply instead, and which has limits of its own.
    Column("limits", String),
    Column("limits_of", BigInteger),
    Index(None, "mode", "id"),
    Index(
        "ix_credential_limits_of",
        "limits_of",
        sqlite_where=text("limits_of IS NOT NULL"),
        postgresql_where=text("limits_of IS NOT NULL"),
    ),
    # With the columns that filters and counts read.
    Index(
        "ix_credential_account_id_mode_id", "account_id", "mode", "id", "revoked_at", "expires_at"
    ),
    Index(
        "uq_credential_imported_hash",
        "secret_hash",
        unique=True,
        sqlite_where=text("origin = 'imported'"),
        postgresql_where=text("origin = 'imported'"),
    ),
    # In the order of a sorted listing, with the columns that its filters read.
    Index("ix_credential_expires_at", "expires_at", "id", "mode", "revoked_at"),
    sqlite_autoincrement=True,
)

# One row for each change, added in its transaction. Processes that cache credentials replay the
# rows whose process could not invalidate. AUTOINCREMENT: a reader continues from the last number it
# has seen.
invalidation = Table(
    "invalidation",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("lookup", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    # Random, so that a reader recognises a log that was rewound and continued. 0 in old rows.
    Column("nonce", BigInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

# The boxes that share the database, with the last row of the log of invalidations that each has
# applied. No rows in SQLite, which only one box can use. ``derivation_ids`` are separated by
# spaces; ``seen_at`` is by the clock of the database. Databases have the column ``schema``, which
# is the revision of the tables.
box = Table(
    "box",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("version", String(40), nullable=False),
    Column("schema", String(16), key="revision", nullable=False),
    Column("derivation_ids", String, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("lease_ms", BigInteger, nullable=False),
    Column("confirmed", BigInteger, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("stopped_at", BigInteger),
    Column("segment", String(32)),
)

# Uses of a credential by hour, named by its beginning. No foreign key: counts of a row that a
# restored backup lacks must not block the counts of other rows.
usage = Table(
    "usage",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("uses", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The refusals of a credential by limits, by hour.
limit_refusal = Table(
    "limit_refusal",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("refusals", BigInteger, nullable=False),
    Index("ix_limit_refusal_hour", "hour"),
    sqlite_with_rowid=False,
)

# The refusals of a credential despite a correct secret, by reason.
refusal = Table(
    "refusal",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("reason", String(16), primary_key=True),
    Column("refusals", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The last few addresses from which a credential was used.
sighting = Table(
    "sighting",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("address", String(40), primary_key=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The part of a segment's cumulative counters that the tables above contain. It is written in the
# same transaction, so that nothing is lost or counted twice if the flushing process dies. A row for
# the credential 0, which does not exist, says that the others of its segment were forgotten.
usage_watermark = Table(
    "usage_watermark",
    metadata,
    Column("segment", String(32), primary_key=True),
    Column("credential_id", _ID, primary_key=True),
    Column("uses", BigInteger, nullable=False),
    Column("revoked", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
    Column("scope", BigInteger, nullable=False),
    Column("disabled", BigInteger, nullable=False, server_default="0"),
    Column("not_yet_valid", BigInteger, nullable=False, server_default="0"),
    Column("address", BigInteger, nullable=False, server_default="0"),
    Column("endpoint", BigInteger, nullable=False, server_default="0"),
    Column("observed", BigInteger, nullable=False, server_default="0"),
    Column("rate_limited", BigInteger, nullable=False, server_default="0"),
    Column("quota_exceeded", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

# The limits that keys and accounts have or had, by holder (a key, or an account and a mode) and
# name. Rows are never deleted, so that a limit that is removed and added again keeps its state.
# ``definition`` is JSON. What follows it is the state of a quota: see ``store/limits.py``.
# AUTOINCREMENT: the state in shared memory is found by the id.
limit_state = Table(
    "limit_state",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("holder", String(30), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("name", String(32), nullable=False),
    Column("definition", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("base_epoch", BigInteger, nullable=False),
    Column("period_start", BigInteger, nullable=False),
    Index("uq_limit_state_holder_mode_name", "holder", "mode", "name", unique=True),
    sqlite_autoincrement=True,
)

# The units of a quota that each segment has reserved in an epoch, cumulatively.
quota_reservation = Table(
    "quota_reservation",
    metadata,
    Column("limit_id", _ID, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("segment", String(32), primary_key=True),
    Column("reserved", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The requests of the last day that created a key with an idempotency key: the calling key, the
# SHA-256 of the request, and the key that it made.
idempotency = Table(
    "idempotency",
    metadata,
    Column("credential_id", _ID, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("fingerprint", LargeBinary(32), nullable=False),
    Column("api_key", String(30), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "created_at"),
    sqlite_with_rowid=False,
)

# The administrators of the console. AUTOINCREMENT: a session must never belong to another one.
administrator = Table(
    "administrator",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("signed_in_at", BigInteger),
    sqlite_autoincrement=True,
)

# Sessions, by the SHA-256 of the token that only the browser has. ``messages`` are those that the
# next page shows, as JSON; empty for none.
console_session = Table(
    "console_session",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("administrator_id", _ID, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("messages", String, nullable=False),
    Index(None, "administrator_id"),
)

# The link that creates the first administrator, by the SHA-256 of its token: one at most.
set_up_link = Table(
    "set_up_link",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)

# The audit log: append-only, and numbered without gaps, so by the change and not by the database.
# ``mac`` is in hex, and chains the row to the previous one. It covers the digests of the address
# and of the detail, so that these can be erased with their salts.
audit = Table(
    "audit",
    metadata,
    Column("number", _ID, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor", String(100)),
    Column("address", String(64)),
    Column("subject", String(100)),
    Column("detail", String, nullable=False),
    Column("mac", String(64), nullable=False),
    Column("address_salt", String(32)),
    Column("address_digest", String(64)),
    Column("detail_salt", String(32)),
    Column("detail_digest", String(64)),
    Index(None, "subject", "number"),
    # The rows that created keys.
    Index(
        "ix_audit_import",
        "at",
        sqlite_where=text("action = 'key.import'"),
        postgresql_where=text("action = 'key.import'"),
    ),
)
