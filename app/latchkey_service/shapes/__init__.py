"""The shapes of what is asked and answered, which the API, the console and the command share."""
