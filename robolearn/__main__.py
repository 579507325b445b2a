"""`python -m robolearn` is `robolearn`."""

import sys

from robolearn.cli import main

sys.exit(main())
