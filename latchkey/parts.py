"""The parts of one worker, built from its settings and connected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from latchkey.addresses import ClientAddresses
from latchkey.box.flush import Flush
from latchkey.box.registration import identity_of
from latchkey.box.replay import Replay
from latchkey.box.retention import Periods, Retention
from latchkey.box.several import AmongBoxes
from latchkey.box.shared import SharedState
from latchkey.box.sightings import Sightings
from latchkey.box.throttle import FailureThrottle
from latchkey.box.upkeep import LogReader, Upkeep
from latchkey.box.use_counts import LiveTallies
from latchkey.check.authenticator import Authenticator
from latchkey.check.limit_levels import LimitLevels
from latchkey.check.limiting import Limiter
from latchkey.config import Settings, load_settings
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.default_limit import parse_default_limit
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.granting import parse_allowed
from latchkey.credentials.kinds import Sources
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.credentials.usage import UsageReader
from latchkey.key_files import load_derivation, load_seal
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_of
from latchkey.store.places import places_for
from latchkey.store.protocols import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one worker.

    ``credentials`` and ``accounts`` change what ``authenticator`` checks.
    """

    settings: Settings
    store: Store
    derivation: DerivationKeys
    shared: SharedState
    authenticator: Authenticator
    publisher: Publisher
    credentials: CredentialService
    accounts: AccountService
    usage: UsageReader
    upkeep: Upkeep
    addresses: ClientAddresses
    throttle: FailureThrottle

    @property
    def limiter(self) -> Limiter:
        """Takes from the limits of keys."""
        return self.authenticator.limiter

    @property
    def levels(self) -> LimitLevels:
        """Reads what remains of limits."""
        return LimitLevels(
            self.shared.limits, self.store.limits, parse_default_limit(self.settings.default_limit)
        )

    def sightings(self, addresses: ClientAddresses | None = None) -> Sightings:
        """What the check writes the addresses of uses to; None identifies callers as usual."""
        kept = Periods.of(self.settings).addresses
        return Sightings(self.shared, addresses or self.addresses, kept=kept)

    def throttle_by(self, addresses: ClientAddresses) -> FailureThrottle:
        """The throttle of refused credentials, for callers that are identified in another way."""
        return _throttle(self.settings, self.shared, addresses)

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        derivation: DerivationKeys | None = None,
        shared: SharedState | None = None,
        seal: Seal | None = None,
        store: Store | None = None,
    ) -> Parts:
        """Build the parts; with None, the settings are read from the environment.

        With ``shared`` None, no state is shared with other processes. ``store`` takes the place of
        the database that the settings name, and of its seal. No connection is opened yet.
        Raises ConfigurationError for an invalid setting.
        """
        settings = settings or load_settings()
        derivation = derivation or load_derivation(settings)
        # Three more connections than threads, for the upkeep threads.
        store = store or database_of(settings).open_store(
            pool_size=settings.threads + 3,
            seal=seal or load_seal(settings),
            change_places=places_for(settings.threads),
        )
        boxes = store.boxes
        shared = shared or SharedState.private(leased=boxes is not None)
        addresses = ClientAddresses(settings.trusted_proxies)
        tallies = LiveTallies(shared)
        replay: LogReader
        among = None
        if boxes is None:
            replay = alone = Replay(store.invalidations, shared, tallies.forget_written)
            publisher = Publisher(store.audit, shared.invalidate, alone.note)
        else:
            among = AmongBoxes.of(
                boxes,
                shared,
                identity_of(settings, derivation.ids_newest_first, boxes.revision),
                places=store.places,
                imported=store.imported.hashes,
                segment=tallies.segment,
                on_replacement=tallies.forget_written,
                divides_rates=settings.rate_share == "divide",
            )
            replay = among.poller
            publisher = Publisher(store.audit, shared.invalidate, settle=among.confirmations.settle)

        def forget_old(now: datetime) -> None:
            store.idempotency.prune(now)
            if among is not None:
                among.forget(now)

        periods = Periods.of(settings)
        retention = Retention(periods, store.audit, store.usage, publisher)
        flush = Flush(
            *(store.usage, store.invalidations, shared, tallies, forget_old),
            retain=retention.apply,
        )
        authenticator = Authenticator(
            Sources(
                derivation,
                store.verifier,
                find_imported=store.imported.verifier,
                may_be_imported=shared.may_be_imported,
            ),
            shared,
            backend=settings.cache_backend,
            cache_size=settings.cache_size,
            cache_ttl=settings.cache_ttl,
            default_limit=parse_default_limit(settings.default_limit),
            quotas=store.limits,
            segment=tallies.segment,
            header_style=settings.ratelimit_headers,
        )

        def learn_imported() -> None:
            if not shared.knows_imported:
                shared.learn_imported(store.imported.hashes())

        return cls(
            settings=settings,
            store=store,
            derivation=derivation,
            shared=shared,
            authenticator=authenticator,
            publisher=publisher,
            credentials=CredentialService(
                *(store, derivation, publisher, parse_allowed(settings.scopes)),
                has_default_limit=bool(settings.default_limit),
            ),
            accounts=AccountService(store.accounts, publisher),
            usage=UsageReader(store.usage, tallies),
            upkeep=Upkeep(
                *(replay, flush, authenticator.report, learn_imported, store.look_after),
                watch=None if among is None else among.watch,
            ),
            addresses=addresses,
            throttle=_throttle(settings, shared, addresses),
        )


def _throttle(
    settings: Settings, shared: SharedState, addresses: ClientAddresses
) -> FailureThrottle:
    return FailureThrottle(
        settings.failure_limit, shared.failures, shared.failure_digest(), addresses
    )
