"""The web console under ``/console/``: an application of its own, with its own sign-in."""
