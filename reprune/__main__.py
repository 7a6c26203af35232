"""``python -m reprune`` is the command line."""

import os
import sys


def _leave_working_folder() -> None:
    """Take back the first place to import from, the working folder, in which anything may lie."""
    if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]


if __name__ == "__main__":
    _leave_working_folder()
    from reprune.cli.app import main

    main()
