"""``python -m reprune`` is the command line."""

from reprune.cli.app import main

main()
