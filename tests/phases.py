#!/usr/bin/env python3
"""Makes one target after the other, and prints at the end how long each took.

`phases.py TARGET...` stops at the first that fails, and exits as make did.
"""

import os
import subprocess
import sys
import time


def main():
    make = os.environ.get("MAKE", "make")
    took, code = [], 0
    for target in sys.argv[1:]:
        since = time.monotonic()
        code = subprocess.run([make, "--no-print-directory", target]).returncode
        took.append((target, time.monotonic() - since))
        if code != 0:
            break
    print(f"\n{'seconds':>8}  phase")
    for target, seconds in took:
        print(f"{seconds:8.1f}  {target}")
    print(f"{sum(seconds for _, seconds in took):8.1f}  together")
    if code != 0:
        print(f"make {took[-1][0]} failed")
    sys.exit(code)


main()
