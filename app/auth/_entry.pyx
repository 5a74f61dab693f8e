# cython: always_allow_keywords=False
"""One remembered check: all that decides whether it still counts, and the principal, ready to use.

Between workers an entry travels as a record of bytes, in a slot that holds its ticket and its
deadline beside it:

    0   version                     8   credential_id, 64 bits
    1   flags                       16  expires_at, 64 bits, signed
    2   length of account_id        24  digest, 16 bytes
    4   length of name              40  account_id, name, scopes: UTF-8, one after the other
    6   length of scopes

Numbers are in the machine's byte order. A record of another version is one of another release,
which runs beside this one during an upgrade: it is no entry.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.object cimport PyObject_GenericSetAttr
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy

from datetime import UTC, datetime, timedelta

from app.credentials.models import Principal


cdef enum:
    VERSION = 1
    FLAG_REVOKED = 1
    FLAG_TEST = 2
    FLAG_NAMED = 4
    MOST_SCOPE_SETS = 4096

cdef object _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
cdef object _MILLISECOND = timedelta(milliseconds=1)
cdef type _Principal = Principal
# Sets of scopes by how records write them: there are few, and each is made once.
cdef dict _scope_sets = {}

if Principal.__slots__ != (
    "credential_id", "account_id", "api_key", "mode", "name", "scopes", "expires_at"
):
    raise ImportError("records do not hold what a Principal holds: give them a new version")


# no_gc: a principal is made of texts and numbers, and never leads back to an entry.
@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Entry:
    """The outcome of one database read.

    `ticket` is the stripe's generation from before the read, `deadline` the CLOCK_MONOTONIC
    nanosecond at which the entry ends, `digest` the keyed digest of the right secret. The
    principal's own `expires_at` is compared with the wall clock at each use.
    """

    def __init__(self, *, ticket, deadline, digest, principal, revoked):
        if not PyBytes_Check(digest) or PyBytes_GET_SIZE(digest) != DIGEST_SIZE:
            raise ValueError(f"a digest has {DIGEST_SIZE} bytes")
        if type(principal) is not _Principal:
            raise TypeError(f"principal must be a Principal, not {type(principal).__name__}")
        self.ticket = ticket
        self.deadline = deadline
        self.credential_id = principal.credential_id
        self.principal = principal
        self.revoked = revoked
        self.expires = NEVER
        if principal.expires_at is not None:
            self.expires = (principal.expires_at - _EPOCH) // _MILLISECOND
        memcpy(self.sum, PyBytes_AS_STRING(digest), DIGEST_SIZE)

    @property
    def digest(self):
        """The keyed digest of the right secret."""
        return self.sum[:DIGEST_SIZE]

    @property
    def expires_at(self):
        """When the credential expires, in milliseconds since 1970; None for never."""
        return None if self.expires == NEVER else self.expires

    def record(self):
        """The entry without its ticket and its deadline, for other workers.

        None for a principal with a text that is too long for a record.
        """
        cdef object principal = self.principal
        cdef bytes account_id = principal.account_id.encode()
        cdef bytes name = b"" if principal.name is None else principal.name.encode()
        cdef bytes scopes = " ".join(sorted(principal.scopes)).encode()
        cdef unsigned char head[RECORD_HEAD]
        cdef uint16_t lengths[3]
        if max(len(account_id), len(name), len(scopes)) > 0xFFFF:
            return None
        lengths[0], lengths[1], lengths[2] = len(account_id), len(name), len(scopes)
        head[0] = VERSION
        head[1] = (
            (FLAG_REVOKED if self.revoked else 0)
            | (FLAG_TEST if principal.mode == "test" else 0)
            | (FLAG_NAMED if principal.name is not None else 0)
        )
        memcpy(head + 2, lengths, 6)
        memcpy(head + 8, &self.credential_id, 8)
        memcpy(head + 16, &self.expires, 8)
        memcpy(head + DIGEST_AT, self.sum, DIGEST_SIZE)
        return head[:RECORD_HEAD] + account_id + name + scopes

    @staticmethod
    def of_record(lookup, record, ticket, deadline):
        """The entry that a record of `lookup` holds; None where it is no record of this version."""
        if not PyBytes_Check(record):
            raise TypeError(f"record must be bytes, not {type(record).__name__}")
        return entry_of_record(
            lookup,
            <const unsigned char *>PyBytes_AS_STRING(record),
            <size_t>PyBytes_GET_SIZE(record),
            ticket,
            deadline,
        )


cdef Entry entry_of_record(
    object lookup, const unsigned char *record, size_t length, uint64_t ticket, uint64_t deadline
):
    """The entry of a record, or None where it is none of this version. `lookup` is a str."""
    cdef uint16_t lengths[3]
    cdef Entry entry
    cdef const char *texts = <const char *>record + RECORD_HEAD
    cdef object name = None
    cdef object expires_at = None
    if length < RECORD_HEAD or record[0] != VERSION:
        return None
    memcpy(lengths, record + 2, 6)
    if length != <size_t>RECORD_HEAD + lengths[0] + lengths[1] + lengths[2]:
        return None
    entry = Entry.__new__(Entry)
    entry.ticket = ticket
    entry.deadline = deadline
    entry.revoked = record[1] & FLAG_REVOKED
    memcpy(&entry.credential_id, record + 8, 8)
    memcpy(&entry.expires, record + 16, 8)
    memcpy(entry.sum, record + DIGEST_AT, DIGEST_SIZE)
    try:
        if entry.expires != NEVER:
            expires_at = _EPOCH + entry.expires * _MILLISECOND
        account_id = PyUnicode_DecodeUTF8(texts, lengths[0], NULL)
        if record[1] & FLAG_NAMED:
            name = PyUnicode_DecodeUTF8(texts + lengths[0], lengths[1], NULL)
        scopes = scope_set(texts[lengths[0] + lengths[1]:<Py_ssize_t>(length - RECORD_HEAD)])
    except (ValueError, OverflowError):
        return None
    # Past __init__: a frozen dataclass sets its fields one by one, through its own refusal.
    principal = _Principal.__new__(_Principal)
    PyObject_GenericSetAttr(principal, "credential_id", entry.credential_id)
    PyObject_GenericSetAttr(principal, "account_id", account_id)
    PyObject_GenericSetAttr(principal, "api_key", "ak_" + lookup)
    PyObject_GenericSetAttr(principal, "mode", "test" if record[1] & FLAG_TEST else "live")
    PyObject_GenericSetAttr(principal, "name", name)
    PyObject_GenericSetAttr(principal, "scopes", scopes)
    PyObject_GenericSetAttr(principal, "expires_at", expires_at)
    entry.principal = principal
    return entry


cdef object scope_set(bytes written):
    """The set of scopes that a record writes with spaces between them."""
    found = _scope_sets.get(written)
    if found is None:
        found = frozenset(written.decode().split())
        if len(_scope_sets) < MOST_SCOPE_SETS:
            _scope_sets[written] = found
    return found
