"""The architecture of the project, which tests compare with the source."""
