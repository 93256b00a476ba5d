"""`python -m mezzo_gateway`."""

import sys

from mezzo_gateway.app import main

if __name__ == "__main__":
    sys.exit(main())
