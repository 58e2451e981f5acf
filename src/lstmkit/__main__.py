"""``python -m lstmkit``, and with it ``torchrun -m lstmkit``."""

import sys

from lstmkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
