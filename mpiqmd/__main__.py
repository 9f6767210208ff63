"""``python -m mpiqmd``: the same as the ``mpiqmd`` command."""

import sys

from mpiqmd.cli import main

if __name__ == "__main__":
    sys.exit(main())
