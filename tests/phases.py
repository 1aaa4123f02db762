#!/usr/bin/env python3
"""Makes one target after the other, and prints at the end how long each took, and how much
processor time, which says more where a machine has other things to do.

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
        started = subprocess.Popen([make, "--no-print-directory", target])
        _, status, usage = os.wait4(started.pid, 0)
        code = started.returncode = os.waitstatus_to_exitcode(status)
        took.append((target, time.monotonic() - since, usage.ru_utime + usage.ru_stime))
        if code != 0:
            break
    took.append(("together", sum(row[1] for row in took), sum(row[2] for row in took)))
    print(f"\n{'seconds':>8}  {'processor':>9}  phase")
    for target, seconds, processor in took:
        print(f"{seconds:8.1f}  {processor:9.1f}  {target}")
    if code != 0:
        print(f"make {took[-2][0]} failed")
    sys.exit(code)


main()
