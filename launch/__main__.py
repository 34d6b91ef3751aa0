"""`python -m irchroma.launch` is the same program as `irchroma`."""

import sys

from irchroma.launch.cli import main

sys.exit(main())
