"""`python -m mezzo_agent`."""

import sys

from mezzo_agent.app import main

sys.exit(main())
