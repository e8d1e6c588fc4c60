"""Exits with 0 if the given address answers 200."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=3) as response:
    sys.exit(response.status != 200)
