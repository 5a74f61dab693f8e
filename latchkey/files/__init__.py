"""Files of an instance: who may open them, who owns them, and how long a lock is waited for."""
