"""What the service does while something below it is broken, and after it has been mended."""
