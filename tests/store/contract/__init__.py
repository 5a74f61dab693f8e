"""The contract of ``latchkey.store.protocols``, held by every implementation of it."""
