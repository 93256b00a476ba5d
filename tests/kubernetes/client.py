"""A client that asks a gateway without a pause, and counts what it is refused: python client.py ADDRESS."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.error
import urllib.request

PAUSE_SECONDS = 0.05
ANSWER_SECONDS_MAX = 10


def main(address: str) -> None:
    """Ask until told to end, then print how often that was, and what went wrong."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    asked, failures = 0, []
    print("asking", flush=True)
    while signal.sigtimedwait({signal.SIGTERM}, PAUSE_SECONDS) is None:
        asked += 1
        began = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://{address}/state-summary", timeout=ANSWER_SECONDS_MAX) as answer:
                json.load(answer)
        except (OSError, ValueError) as error:
            failures.append(f"after {time.monotonic() - began:.2f} s: {error}")
    print(json.dumps({"asked": asked, "failures": failures}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
