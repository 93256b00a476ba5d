"""`python -m mezzo_registry`."""

import sys

from mezzo_registry.app import main

sys.exit(main())
