"""`python -m mezzo_allocator`."""

import sys

from mezzo_allocator.app import main

if __name__ == "__main__":
    sys.exit(main())
