"""The contract of ``latchkey.store.protocols``, which every implementation must meet."""
