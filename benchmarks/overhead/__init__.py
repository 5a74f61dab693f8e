"""What the check adds to a request, measured in process: call by call, beside doing without it."""
