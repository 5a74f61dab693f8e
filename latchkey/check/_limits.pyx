# cython: always_allow_keywords=False, cdivision=True
"""The limits of a key, prepared: taken from at each request, and shown in headers."""

cimport cython
from libc.stdint cimport UINT64_MAX, int64_t, uint64_t
from libc.string cimport memcpy

from fastcache.shared._words cimport word_from
from latchkey.check._taking cimport (
    DAY_MS,
    DEFAULT_RATE,
    MOST_STEPS,
    QUOTA,
    RATE,
    Shown,
    Step,
    Tables,
    Taking,
    look_at_all,
    show,
    tables_of,
    take_all,
    words_of,
)
from latchkey.native._clock cimport CLOCK_REALTIME, CLOCK_REALTIME_COARSE, milliseconds
from latchkey.native._text cimport put_number
from latchkey.native._vector cimport unexpected

from datetime import UTC, datetime, timedelta

from fastcache.shared import Quota, Rate
from latchkey.credentials import limits as forms
from latchkey.credentials.limits import QuotaLimit, RateLimit, StoredLimit, period_at
from latchkey.errors import StoreError


cdef enum:
    MOST_OF_EACH = 4
    LONGEST_VALUE = 1024        # of a header, for MOST_STEPS limits
    LONGEST_SHOWN = 80          # of the name of a limit with what belongs to it

cdef object _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
cdef object _MILLISECOND = timedelta(milliseconds=1)
cdef object _ONE_SECOND = timedelta(seconds=1)
cdef object _DAY = timedelta(days=1)
cdef tuple KINDS = ("rates", "default_rates", "quotas")
cdef str POLICY = "RateLimit-Policy"
cdef str LEVELS = "RateLimit"


# no_gc: a plan consists of limits and texts, and never refers back to an entry.
@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class LimitPlan:
    """The limits that each request of a key has to pass, prepared; immutable.

    `own` are those of the key, or `default` with the row of its state if the key has none;
    `account` are those of its account. `limits`, `names` and `sources` are in the order in which
    they are taken from. A name that an account's limit shares with the key's gets the prefix
    `account-`. Raises ValueError for limits that no table can hold.
    """

    def __init__(self, own=(), account=(), default=None):
        cdef list limits = []
        cdef list names = []
        cdef list sources = []
        cdef list shown = []
        cdef Py_ssize_t index
        if len(own) > MOST_OF_EACH or len(account) > MOST_OF_EACH:
            raise ValueError(f"a key and an account have at most {<int>MOST_OF_EACH} limits each")
        if default is not None and own:
            raise ValueError("the default limit is for keys without limits of their own")
        if self.limits is not None:
            raise RuntimeError("LimitPlan is already initialised")
        found = [("key", stored) for stored in own]
        if default is not None:
            found.append(("default", StoredLimit(default[1], default[0])))
        found += [("account", stored) for stored in account]
        for index, (source, stored) in enumerate(found):
            name = stored.limit.name
            while name in names:
                name = f"account-{name}"
            written = f'"{name}";r='.encode("ascii")
            if len(written) > LONGEST_SHOWN:
                raise ValueError(f"the name {name} is too long")
            limits.append(stored)
            names.append(name)
            sources.append(source)
            shown.append(written)
            fill_step(&self.steps[index], stored, source == "default", written)
            self.has_rates |= self.steps[index].kind != QUOTA
            self.has_quotas |= self.steps[index].kind == QUOTA
        self.count = <int>len(limits)
        self.names = tuple(names)
        self.sources = tuple(sources)
        self.shown = tuple(shown)
        self.text = ";".join((
            " ".join(map(written_limit, own)),
            " ".join(map(written_limit, account)),
            "" if default is None else written_limit(limits[len(own)]),
        ))
        self.limits = tuple(limits)
        self.announce(milliseconds(CLOCK_REALTIME))

    @staticmethod
    def of_text(text):
        """The plan that has this `text`. Raises ValueError for any other text."""
        own, account, default = text.split(";")
        given = [limit_of_text(one) for one in default.split()]
        if len(given) > 1 or (given and type(given[0].limit) is not RateLimit):
            raise ValueError("the default limit is one rate")
        return LimitPlan(
            tuple([limit_of_text(one) for one in own.split()]),
            tuple([limit_of_text(one) for one in account.split()]),
            (given[0].limit, given[0].id) if given else None,
        )

    @property
    def policy(self):
        """The value of the header RateLimit-Policy."""
        return policy_of(self, milliseconds(CLOCK_REALTIME))[1]

    def take(self, tables, cost=1, *, now=None):
        """Take `cost` units from all limits, or from none; returns a LimitOutcome.

        `tables` is a LimitTables. `now`, in milliseconds since 1970, decides whether a quota's
        period has ended; by default, it is the wall clock's. Raises ValueError for a cost of 0, and
        StoreError if there is no memory for the state of a limit.
        """
        return taken(self, tables, word_from(cost, "cost"), moment(now), False)

    def look(self, tables, cost=1, *, now=None):
        """The LimitOutcome that `take` would return now, without taking anything."""
        return taken(self, tables, word_from(cost, "cost"), moment(now), True)

    def __eq__(self, other):
        return isinstance(other, LimitPlan) and self.text == (<LimitPlan>other).text

    def __hash__(self):
        return hash(self.text)

    def __repr__(self):
        return f"LimitPlan({self.text!r})"

    cdef int announce(self, int64_t now) except -1:
        """Compose the value of RateLimit-Policy, which changes with the periods of quotas."""
        cdef uint64_t until = UINT64_MAX
        cdef list values = []
        at = _EPOCH + now * _MILLISECOND
        for name, stored in zip(self.names, self.limits):
            limit = stored.limit
            if type(limit) is RateLimit:
                values.append(f'"{name}";q={limit.count};w={limit.window}')
                continue
            start, end = period_at(limit, at)
            if end is None:
                values.append(f'"{name}";q={limit.quota}')
            else:
                values.append(f'"{name}";q={limit.quota};w={(end - start).days * 86_400}')
                until = min(until, <uint64_t>((end - _EPOCH) // _DAY))
        header = (POLICY, ", ".join(values))
        with cython.critical_section(self):
            self.announced = header
            self.announced_until = until
        return 0


cdef tuple policy_of(LimitPlan plan, int64_t now):
    if unexpected(<uint64_t>now // DAY_MS >= plan.announced_until):
        plan.announce(now)
    with cython.critical_section(plan):
        header = plan.announced
    return header


cdef int64_t moment(object now) except? -1:
    """The milliseconds since 1970 that a caller passed, or those of the wall clock."""
    return milliseconds(CLOCK_REALTIME) if now is None else <int64_t>word_from(now, "now")


cdef int fill_step(Step *step, object stored, bint is_default, bytes shown) except -1:
    """Prepare a limit; Rate and Quota raise ValueError for numbers out of range."""
    limit = stored.limit
    step.row = word_from(stored.id, "id")
    step.shown = shown
    step.shown_size = <size_t>len(shown)
    step.interval = 1
    step.generation = 0
    if type(limit) is RateLimit:
        rate = Rate(stored.id, limit.interval, limit.burst)
        step.kind = DEFAULT_RATE if is_default else RATE
        step.interval = rate.interval
        step.most = rate.burst
    elif type(limit) is QuotaLimit and not is_default:
        quota = Quota(stored.id, stored.generation, limit.quota)
        step.kind = QUOTA
        step.most = quota.amount
        step.generation = quota.generation
    else:
        raise TypeError(f"{type(limit).__name__} is no limit of this kind")
    return 0


cdef str written_limit(object stored):
    """A limit in the text of a plan."""
    limit = stored.limit
    if type(limit) is RateLimit:
        return f"r,{stored.id},{limit.name},{limit.count}/{limit.period},{limit.burst}"
    return (
        f"q,{stored.id},{limit.name},{stored.generation},{limit.quota},{limit.period},"
        f"{limit.refill_on}"
    )


cdef object limit_of_text(str text):
    """The limit in a text of `written_limit`; raises ValueError for any other."""
    parts = text.split(",")
    if len(parts) == 5 and parts[0] == "r":
        return StoredLimit(int(parts[1]), forms.rate_limit(parts[3], parts[2], int(parts[4])))
    if len(parts) == 7 and parts[0] == "q":
        quota = forms.quota_limit(
            parts[2], int(parts[4]), parts[5], int(parts[6]) if parts[5] == "month" else None
        )
        return StoredLimit(int(parts[1]), quota, int(parts[3]))
    raise ValueError("this is no limit")


cdef LimitOutcome taken_outcome(LimitPlan plan, Tables tables, uint64_t cost):
    """The outcome after everything was taken."""
    cdef LimitOutcome outcome = LimitOutcome.__new__(LimitOutcome)
    outcome.verdict = TAKEN
    outcome.index = -1
    outcome.wait = UINT64_MAX
    outcome.cost = cost
    outcome.plan = plan
    outcome.tables = tables
    return outcome


cdef LimitOutcome taken(LimitPlan plan, object given, uint64_t cost, int64_t now, bint looks_only):
    cdef Tables tables = tables_of(given)
    cdef uint64_t *words[MOST_STEPS]
    cdef Taking taking
    cdef LimitOutcome outcome
    cdef Step *step
    cdef int verdict, i
    if plan.limits is None:
        raise RuntimeError("LimitPlan is not initialised")
    if cost == 0:
        raise ValueError("cost must be >= 1")
    for i in range(plan.count):
        step = &plan.steps[i]
        words[i] = words_of(tables, step)
        if words[i] == NULL:
            if given.make_room(KINDS[<int>step.kind], step.row):
                words[i] = words_of(tables, step)
            if words[i] == NULL:
                raise StoreError("there is no memory for the state of a limit")
    taking.wait = UINT64_MAX
    if looks_only:
        verdict = look_at_all(plan.steps, plan.count, tables, words, cost, now, &taking)
    else:
        verdict = take_all(plan.steps, plan.count, tables, cost, now, &taking)
    outcome = taken_outcome(plan, tables, cost)
    outcome.verdict = verdict
    outcome.index = -1 if verdict == TAKEN else taking.index
    if verdict == REFUSED:
        outcome.wait = taking.wait
    return outcome


cdef int read_level(LimitOutcome outcome, int index, int64_t now, Shown *shown) except -1:
    """What is left of a limit, also of a quota whose period is not known to the tables yet."""
    if show(&outcome.plan.steps[index], outcome.tables, now, shown):
        return 0
    at = _EPOCH + now * _MILLISECOND
    end = period_at(outcome.plan.limits[index].limit, at).end
    if end is not None:
        # Rounded up.
        shown.reset = <uint64_t>(-((at - end) // _ONE_SECOND))
    return 0


cdef str levels_value(LimitOutcome outcome, int64_t now):
    """The value of the header RateLimit."""
    cdef char value[LONGEST_VALUE]
    cdef char *end = value
    cdef Shown shown
    cdef Step *step
    cdef int i
    for i in range(outcome.plan.count):
        step = &outcome.plan.steps[i]
        read_level(outcome, i, now, &shown)
        if i != 0:
            memcpy(end, b", ", 2)
            end += 2
        memcpy(end, step.shown, step.shown_size)
        end = put_number(end + step.shown_size, shown.remaining)
        if shown.reset != UINT64_MAX:
            memcpy(end, b";t=", 3)
            end = put_number(end + 3, shown.reset)
    return value[:end - value].decode("ascii")


cdef int add_headers(LimitOutcome outcome, list headers, bint as_x) except -1:
    """Append the headers that tell what is left, with the newest numbers."""
    cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
    if as_x:
        headers += x_headers(outcome, now)
        return 0
    headers.append(policy_of(outcome.plan, now))
    headers.append((LEVELS, levels_value(outcome, now)))
    return 0


cdef list x_headers(LimitOutcome outcome, int64_t now):
    """The headers of the limit of which the smallest share is left."""
    cdef Shown shown, least
    cdef double share, smallest = 2
    cdef uint64_t most = 0
    cdef int i
    least.remaining = least.reset = 0
    for i in range(outcome.plan.count):
        read_level(outcome, i, now, &shown)
        share = <double>shown.remaining / <double>outcome.plan.steps[i].most
        if share < smallest:
            smallest = share
            least = shown
            most = outcome.plan.steps[i].most
    headers = [("X-RateLimit-Limit", str(most)), ("X-RateLimit-Remaining", str(least.remaining))]
    if least.reset != UINT64_MAX:
        headers.append(("X-RateLimit-Reset", str(least.reset)))
    return headers


# no_gc: a plan never refers to an outcome.
@cython.final
@cython.no_gc
@cython.freelist(16)
@cython.auto_pickle(False)
cdef class LimitOutcome:
    """What came of taking from the limits of a plan.

    `verdict` is TAKEN, REFUSED or NEEDS_STORE, and `index` the limit that decided, -1 for TAKEN.
    What is left is read when it is asked for.
    """

    def __init__(self):
        raise TypeError("LimitPlan.take makes the outcomes")

    @property
    def wait_ns(self):
        """The nanoseconds after which the limit would admit the cost; None if it never would."""
        return None if self.wait == UINT64_MAX else self.wait

    def levels(self, *, now=None):
        """What is left of each limit: its name, the units, and the seconds until all is left.

        The seconds are rounded up, and None for a quota without an end. `now` is in milliseconds
        since 1970, by default the wall clock's.
        """
        cdef Shown shown
        cdef int64_t at = moment(now)
        cdef list found = []
        cdef int i
        for i in range(self.plan.count):
            read_level(self, i, at, &shown)
            found.append((
                self.plan.names[i],
                shown.remaining,
                None if shown.reset == UINT64_MAX else shown.reset,
            ))
        return found

    def headers(self, style="standard"):
        """The headers that tell the caller what is left, with the newest numbers.

        `style` is `standard` for those of draft-ietf-httpapi-ratelimit-headers-10, `x` for
        X-RateLimit-Limit, -Remaining and -Reset of the limit of which the smallest share is left.
        """
        headers = []
        add_headers(self, headers, ("standard", "x").index(style))
        return headers

    def __repr__(self):
        verdict = ("TAKEN", "REFUSED", "NEEDS_STORE")[self.verdict]
        return f"LimitOutcome({verdict}, index={self.index})"
