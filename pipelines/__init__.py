"""The steps chained: the recurring pipeline, and how it is run on this machine and compiled for a server."""
