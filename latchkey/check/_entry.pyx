# cython: always_allow_keywords=False
"""A cached result of a check: the principal, and the data that decides about its validity.

Workers share an entry as a record of bytes. The slot of the record also stores the ticket and the
deadline:

    0   version                     12  credential_id, 64 bits
    1   flags                       20  expires_at, 64 bits, signed
    2   length of account_id        28  digest, 16 bytes
    4   length of name              44  account_id, name, scopes, external_id, metadata:
    6   length of scopes                UTF-8, one after the other
    8   length of external_id
    10  length of metadata

A flag is set for a name, an external_id or metadata that is present; its length is 0 otherwise. If
the flag for limits is set, the text of a LimitPlan follows those texts, with its length in 16 bits
before it. If the flag for conditions is set, their text follows all others: JSON in ASCII.

Lengths have 16 bits. Numbers are in the machine's byte order, at any alignment. A record of another
version is treated as a miss: workers of another release run at the same time during an upgrade.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.unicode cimport (
    PyUnicode_Check,
    PyUnicode_DecodeUTF8,
    PyUnicode_GET_LENGTH,
)
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy

from latchkey.check._limits cimport LimitPlan
from latchkey.credentials._proof cimport LOOKUP_SIZE, MARK_SIZE

from datetime import UTC, datetime, timedelta

from latchkey.credentials.conditions import (
    NO_CONDITIONS,
    Evaluation,
    conditions_of_text,
    conditions_text,
)
from latchkey.credentials.models import Principal


cdef extern from *:
    """
    #include <structmember.h>

    /* The offset of the slot that a member descriptor of a class describes; 0 for anything
     * else. */
    static inline Py_ssize_t latchkey_slot(PyObject *descriptor)
    {
        PyMemberDef *member;
        if (Py_TYPE(descriptor) != &PyMemberDescr_Type) {
            return 0;
        }
        member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : 0;
    }

    /* Sets a slot of a new instance that no other code can reach yet. */
    static inline void latchkey_fill(PyObject *instance, Py_ssize_t slot, PyObject *value)
    {
        Py_INCREF(value);
        *(PyObject **)((char *)instance + slot) = value;
    }
    """
    Py_ssize_t slot_of "latchkey_slot"(object descriptor) noexcept
    void fill "latchkey_fill"(object instance, Py_ssize_t slot, object value) noexcept


cdef extern from "Python.h":
    object new_instance "PyType_GenericAlloc"(type cls, Py_ssize_t items)
    object new_text "PyUnicode_New"(Py_ssize_t size, Py_UCS4 largest)
    void *text_data "PyUnicode_DATA"(PyObject *text) noexcept
    const char *PyUnicode_AsUTF8(object text) except NULL


cdef extern from "_fixed_hash.h":
    uint64_t fastcache_fixed_hash(const char *key, size_t length) noexcept nogil


cdef enum:
    VERSION = 4
    FLAGS_PLACE = 1         # in a record
    LENGTHS_PLACE = 2
    CREDENTIAL_PLACE = 12
    EXPIRES_PLACE = 20
    LENGTHS = 5             # number of texts that have a length
    FLAG_REVOKED = 1
    FLAG_TEST = 2
    FLAG_NAMED = 4
    FLAG_CONDITIONS = 8
    FLAG_EXTERNAL_ID = 16
    FLAG_METADATA = 32
    FLAG_INSTANCE = 64
    FLAG_LIMITS = 128
    MOST_SCOPE_SETS = 4096
    MOST_EVALUATIONS = 4096
    MOST_PLANS = 4096

cdef object _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
cdef object _MILLISECOND = timedelta(milliseconds=1)
cdef type _Principal = Principal
# Sets of scopes by their text in records. There are few, and each is created once.
cdef dict _scope_sets = {}
# Conditions by their text in records, prepared for evaluation.
cdef dict _evaluations = {}
# Limits by their text in records.
cdef dict _plans = {}

cdef tuple SLOTS = (
    "credential_id", "account_id", "api_key", "mode", "name", "scopes", "expires_at",
    "external_id", "metadata_text", "in_instance_account",
)
# Bypasses the __init__ of a frozen dataclass, which would set the fields one by one.
cdef Py_ssize_t CREDENTIAL_ID, ACCOUNT_ID, API_KEY, MODE, NAME, SCOPES, EXPIRES_AT
cdef Py_ssize_t EXTERNAL_ID, METADATA_TEXT, IN_INSTANCE_ACCOUNT
if Principal.__slots__ != SLOTS:
    raise ImportError("the fields of Principal changed: give the records a new version")
(
    CREDENTIAL_ID, ACCOUNT_ID, API_KEY, MODE, NAME, SCOPES, EXPIRES_AT,
    EXTERNAL_ID, METADATA_TEXT, IN_INSTANCE_ACCOUNT,
) = [slot_of(Principal.__dict__[name]) for name in SLOTS]
if 0 in (
    CREDENTIAL_ID, ACCOUNT_ID, API_KEY, MODE, NAME, SCOPES, EXPIRES_AT,
    EXTERNAL_ID, METADATA_TEXT, IN_INSTANCE_ACCOUNT,
):
    raise ImportError("a field of Principal is no slot")


# no_gc: a principal consists of strings and numbers, and never refers back to an entry.
@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class CacheEntry:
    """The outcome of one database read.

    `ticket` is the sum of two generations from before the read, those of the key's stripe and of
    its account's. `deadline` is the CLOCK_MONOTONIC nanosecond at which the entry expires, `digest`
    the keyed digest of the correct secret. The principal's own `expires_at` is compared with the
    wall clock at each use. The conditions are evaluated at each use too; `evaluation` is None for a
    key without conditions. `limits` is the plan of the limits that each use takes from, or None.
    """

    def __init__(
        self, *, ticket, deadline, digest, principal, revoked, conditions=NO_CONDITIONS,
        LimitPlan limits=None
    ):
        if not PyBytes_Check(digest) or PyBytes_GET_SIZE(digest) != DIGEST_SIZE:
            raise ValueError(f"a digest has {DIGEST_SIZE} bytes")
        if type(principal) is not _Principal:
            raise TypeError(f"principal must be a Principal, not {type(principal).__name__}")
        account_id = principal.account_id.encode()
        self.account_hash = fastcache_fixed_hash(
            PyBytes_AS_STRING(account_id), <size_t>PyBytes_GET_SIZE(account_id)
        )
        self.ticket = ticket
        self.deadline = deadline
        self.credential_id = principal.credential_id
        self.principal = principal
        self.revoked = revoked
        self.evaluation = None if conditions == NO_CONDITIONS else Evaluation(conditions)
        self.limits = limits
        self.expires = NEVER
        if principal.expires_at is not None:
            self.expires = (principal.expires_at - _EPOCH) // _MILLISECOND
        memcpy(self.sum, PyBytes_AS_STRING(digest), DIGEST_SIZE)

    @property
    def digest(self):
        """The keyed digest of the correct secret."""
        return self.sum[:DIGEST_SIZE]

    @property
    def expires_at(self):
        """When the credential expires, in milliseconds since 1970; None if it does not expire."""
        return None if self.expires == NEVER else self.expires

    def record(self):
        """The entry without its ticket and deadline, as a record for other workers.

        None if a text of the principal is too long for a record.
        """
        cdef object principal = self.principal
        cdef list texts = [
            principal.account_id.encode(),
            encoded(principal.name),
            " ".join(sorted(principal.scopes)).encode(),
            encoded(principal.external_id),
            encoded(principal.metadata_text),
        ]
        cdef bytes conditions = b""
        cdef bytes limits = b""
        cdef uint16_t limits_length = 0
        cdef unsigned char head[RECORD_HEAD]
        cdef uint16_t lengths[LENGTHS]
        cdef Py_ssize_t index
        if self.evaluation is not None:
            conditions = conditions_text(self.evaluation.conditions).encode()
        if self.limits is not None:
            written = self.limits.text.encode()
            if len(written) > 0xFFFF:
                return None
            limits_length = <uint16_t>len(written)
            limits = (<unsigned char *>&limits_length)[:sizeof(limits_length)] + written
        for index in range(LENGTHS):
            if len(texts[index]) > 0xFFFF:
                return None
            lengths[index] = <uint16_t>len(texts[index])
        head[0] = VERSION
        head[FLAGS_PLACE] = (
            (FLAG_REVOKED if self.revoked else 0)
            | (FLAG_TEST if principal.mode == "test" else 0)
            | (FLAG_NAMED if principal.name is not None else 0)
            | (FLAG_CONDITIONS if conditions else 0)
            | (FLAG_EXTERNAL_ID if principal.external_id is not None else 0)
            | (FLAG_METADATA if principal.metadata_text is not None else 0)
            | (FLAG_INSTANCE if principal.in_instance_account else 0)
            | (FLAG_LIMITS if limits else 0)
        )
        memcpy(head + LENGTHS_PLACE, lengths, sizeof(lengths))
        memcpy(head + CREDENTIAL_PLACE, &self.credential_id, sizeof(self.credential_id))
        memcpy(head + EXPIRES_PLACE, &self.expires, sizeof(self.expires))
        memcpy(head + DIGEST_AT, self.sum, DIGEST_SIZE)
        return head[:RECORD_HEAD] + b"".join(texts) + limits + conditions

    @staticmethod
    def of_record(lookup, record, ticket, deadline):
        """The entry in a record of `lookup`; None if it is not a record of this version."""
        if not PyBytes_Check(record):
            raise TypeError(f"record must be bytes, not {type(record).__name__}")
        return entry_of_record(
            key_in(lookup),
            <const unsigned char *>PyBytes_AS_STRING(record),
            <size_t>PyBytes_GET_SIZE(record),
            ticket,
            deadline,
        )


cdef bytes encoded(object text):
    """A text in a record; an absent one is empty, and has no flag."""
    return b"" if text is None else text.encode()


cdef const char *key_in(object lookup) except NULL:
    """The characters of a lookup key; the pointer is borrowed."""
    if not PyUnicode_Check(lookup) or PyUnicode_GET_LENGTH(lookup) != LOOKUP_SIZE:
        raise ValueError(f"a lookup key is a str of {LOOKUP_SIZE} characters")
    if not lookup.isascii():
        raise ValueError("a lookup key is ASCII")
    return PyUnicode_AsUTF8(lookup)


cdef CacheEntry entry_of_record(
    const char *key, const unsigned char *record, size_t length, uint64_t ticket,
    uint64_t deadline
):
    """The entry in a record; None if it is not a record of this version.

    `key` is the lookup key, LOOKUP_SIZE ASCII characters.
    """
    cdef uint16_t lengths[LENGTHS]
    cdef CacheEntry entry
    cdef const char *texts[LENGTHS]
    cdef const char *end = <const char *>record + RECORD_HEAD
    cdef const char *limits = NULL
    cdef uint16_t limits_length = 0
    cdef const char *limit = <const char *>record + length
    cdef unsigned char flags
    cdef object expires_at = None
    cdef Py_ssize_t index
    if length < RECORD_HEAD or record[0] != VERSION:
        return None
    flags = record[FLAGS_PLACE]
    memcpy(lengths, record + LENGTHS_PLACE, sizeof(lengths))
    for index in range(LENGTHS):
        if limit - end < lengths[index]:
            return None
        texts[index] = end
        end += lengths[index]
    if flags & FLAG_LIMITS:
        if limit - end < <Py_ssize_t>sizeof(limits_length):
            return None
        memcpy(&limits_length, end, sizeof(limits_length))
        limits = end + sizeof(limits_length)
        if limit - limits < limits_length:
            return None
        end = limits + limits_length
    # A text that is missing, or that no flag announces, makes it no entry.
    if (
        (end == limit) == ((flags & FLAG_CONDITIONS) != 0)
        or not (flags & FLAG_NAMED or lengths[1] == 0)
        or not (flags & FLAG_EXTERNAL_ID or lengths[3] == 0)
        or not (flags & FLAG_METADATA or lengths[4] == 0)
    ):
        return None
    entry = CacheEntry.__new__(CacheEntry)
    entry.ticket = ticket
    entry.account_hash = fastcache_fixed_hash(texts[0], lengths[0])
    entry.deadline = deadline
    entry.revoked = flags & FLAG_REVOKED
    memcpy(&entry.credential_id, record + CREDENTIAL_PLACE, sizeof(entry.credential_id))
    memcpy(&entry.expires, record + EXPIRES_PLACE, sizeof(entry.expires))
    memcpy(entry.sum, record + DIGEST_AT, DIGEST_SIZE)
    try:
        if entry.expires != NEVER:
            expires_at = _EPOCH + entry.expires * _MILLISECOND
        account_id = PyUnicode_DecodeUTF8(texts[0], lengths[0], NULL)
        name = optional_text(flags & FLAG_NAMED, texts[1], lengths[1])
        scopes = scope_set(texts[2][:lengths[2]])
        external_id = optional_text(flags & FLAG_EXTERNAL_ID, texts[3], lengths[3])
        metadata_text = optional_text(flags & FLAG_METADATA, texts[4], lengths[4])
        entry.evaluation = None
        if flags & FLAG_CONDITIONS:
            entry.evaluation = evaluation_of(end[:limit - end])
        entry.limits = None
        if flags & FLAG_LIMITS:
            entry.limits = plan_of(limits[:limits_length])
    except (ValueError, TypeError, OverflowError):
        return None
    api_key = new_text(MARK_SIZE + LOOKUP_SIZE, 127)
    memcpy(text_data(<PyObject *>api_key), b"ak_", MARK_SIZE)
    memcpy(<char *>text_data(<PyObject *>api_key) + MARK_SIZE, key, LOOKUP_SIZE)
    principal = new_instance(_Principal, 0)
    fill(principal, CREDENTIAL_ID, entry.credential_id)
    fill(principal, ACCOUNT_ID, account_id)
    fill(principal, API_KEY, api_key)
    fill(principal, MODE, "test" if flags & FLAG_TEST else "live")
    fill(principal, NAME, name)
    fill(principal, SCOPES, scopes)
    fill(principal, EXPIRES_AT, expires_at)
    fill(principal, EXTERNAL_ID, external_id)
    fill(principal, METADATA_TEXT, metadata_text)
    fill(principal, IN_INSTANCE_ACCOUNT, (flags & FLAG_INSTANCE) != 0)
    entry.principal = principal
    return entry


cdef object optional_text(bint present, const char *text, Py_ssize_t length):
    return PyUnicode_DecodeUTF8(text, length, NULL) if present else None


cdef object scope_set(bytes written):
    """The set of scopes in a record's text, where they are separated by spaces."""
    found = _scope_sets.get(written)
    if found is None:
        found = frozenset(written.decode().split())
        if len(_scope_sets) < MOST_SCOPE_SETS:
            _scope_sets[written] = found
    return found


cdef object evaluation_of(bytes written):
    """The conditions that a record writes; raises what `conditions_of_text` does."""
    found = _evaluations.get(written)
    if found is None:
        found = Evaluation(conditions_of_text(written.decode()))
        if len(_evaluations) < MOST_EVALUATIONS:
            _evaluations[written] = found
    return found


cdef LimitPlan plan_of(bytes written):
    """The limits that a record writes; raises what `LimitPlan.of_text` does."""
    found = _plans.get(written)
    if found is None:
        found = LimitPlan.of_text(written.decode())
        if len(_plans) < MOST_PLANS:
            _plans[written] = found
    return <LimitPlan?>found
