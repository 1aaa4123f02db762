#!/usr/bin/env python3
"""Builds the tests once, runs several suites at a time, and says how long each took.

`run.py [--beside TARGET]... [ARGUMENT...]` takes the arguments of `cargo test` that name
packages, features and suites. `--beside` names a target of the Makefile that is made meanwhile.
What each of them printed is shown in one piece when it ends.

Most of the slow suites wait: for a Redis to fail over, for a deadline to pass. They run beside
what computes, which gives way to them.

cargo-nextest starts a process for each test, and each would compile the filter again.

Exit status: 0 all passed, 1 something failed or there was no suite, otherwise cargo's.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time

CARGO = os.environ.get("CARGO", "cargo")

# Suites that wait for most of their time, the slowest first, and how many of their tests run
# at once. In a larger crowd, tests are paused for so long that they miss deadlines.
WAITING = {
    "failover": 4,
    "companion": 4,
    "exchange": 4,
    "audit_companion": 4,
    "page": 2,
    "chaos": 2,
    "replicas": 1,
    "zones_envoy": 3,
    "envoy_keys": 5,
    "gateway_envoy": 4,
    "revocation_envoy": 4,
    "envoy_logs": 4,
    "shadow_envoy": 3,
    "mcp_clients": 3,
    "operations": 4,
    "shared_data_envoy": 2,
}
WAITING_AT_ONCE = 2
# What computes; the waiting suites need little more than the rest of a processor.
COMPUTING_AT_ONCE = max(1, (os.cpu_count() or 1) - 1)
# How far the computing ones give way.
NICENESS = 5

# Suites that nothing may run beside, and why.
ALONE = {
    "readme": "its snippets build dist/ again, and take the demo's ports",
}


class Suite:
    """One test binary, the doc tests of all packages, or a target of the Makefile."""

    def __init__(self, name, command, folder):
        self.name, self.command, self.folder = name, command, folder
        self.seconds, self.processor, self.passed, self.tests = 0.0, 0.0, False, 0

    def run(self):
        """Returns what it printed."""
        environment = dict(os.environ)
        # A make that a suite starts would print more, because it takes itself for a part of ours.
        for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
            environment.pop(name, None)
        if self.name in WAITING:
            environment.setdefault("RUST_TEST_THREADS", str(WAITING[self.name]))
        since = time.monotonic()
        with tempfile.TemporaryFile() as output:
            started = subprocess.Popen(self.command, cwd=self.folder, env=environment,
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       preexec_fn=None if self.name in WAITING else lambda: os.nice(NICENESS))
            # Unlike `wait`, this says how much processor time it and what it started took.
            _, status, usage = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            said = output.read().decode(errors="replace")
        self.seconds = time.monotonic() - since
        self.processor = usage.ru_utime + usage.ru_stime
        self.passed = started.returncode == 0
        self.tests = sum(map(int, re.findall(r"^test result: \w+\. (\d+) passed", said, re.M)))
        return said


def build(arguments):
    """The test binaries that `cargo test` with these arguments would run, and the processor
    time that it took to build them."""
    command = [CARGO, "test", "--locked", "--no-run", "--message-format=json-render-diagnostics", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(done.returncode)
    found = []
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message["executable"] or not message["profile"]["test"]:
            continue
        target = message["target"]
        # As cargo does: a suite runs in its package's folder.
        folder = os.path.dirname(message["manifest_path"])
        kind = target["kind"][0]
        name = target["name"] if kind == "test" else f"{target['name']} ({kind})"
        found.append(Suite(name, [message["executable"]], folder))
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found, usage.ru_utime + usage.ru_stime


def run_all(lanes):
    """Runs each lane on a thread of its own: one suite after the other of its queues, in their
    order. Lanes may share a queue."""
    lock = threading.Lock()

    def following(queues):
        with lock:
            return next((queue.pop(0) for queue in queues if queue), None)

    def run_lane(queues):
        while suite := following(queues):
            output = suite.run()
            said = "passed" if suite.passed else "FAILED"
            with lock:
                print(f"\n===== {suite.name}\n{output.rstrip()}\n"
                      f"{suite.name}: {said} in {suite.seconds:.0f} s", flush=True)

    # When this process is interrupted, the lanes end with it.
    threads = [threading.Thread(target=run_lane, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    arguments, beside = [], []
    given = iter(sys.argv[1:])
    for argument in given:
        if argument == "--beside":
            beside.append(next(given))
        else:
            arguments.append(argument)
    begun = time.monotonic()
    suites, building = build(arguments)
    built = time.monotonic() - begun
    # Where single suites are named, cargo runs no doc tests either.
    if not {"--test", "--lib", "--bins", "--bin"} & set(arguments):
        names = {suite.name for suite in suites}
        unknown = [name for name in (*WAITING, *ALONE) if name not in names]
        if unknown:
            sys.exit(f"tests/run.py: there is no suite {', '.join(unknown)}: take it out of the lists")
        suites.append(Suite("doc tests", [CARGO, "test", "--locked", "--doc", *arguments], os.getcwd()))
    make = os.environ.get("MAKE", "make")
    # First, because they take long.
    suites = [Suite(f"make {target}", [make, "--no-print-directory", target], os.getcwd()) for target in beside] + suites
    order = list(WAITING)
    waiting = sorted((s for s in suites if s.name in WAITING), key=lambda s: order.index(s.name))
    alone = [s for s in suites if s.name in ALONE]
    computing = [s for s in suites if s not in waiting and s not in alone]
    lanes = [[computing]] * COMPUTING_AT_ONCE + [[waiting]] * WAITING_AT_ONCE
    # Whoever has nothing left to wait for computes.
    lanes[-1] = [waiting, computing]
    run_all(lanes)
    run_all([[alone]])

    print(f"\n{'seconds':>8}  {'processor':>9}  {'tests':>5}  suite")
    for suite in sorted(suites, key=lambda s: -s.seconds):
        print(f"{suite.seconds:8.1f}  {suite.processor:9.1f}  {suite.tests:5}  {suite.name}{'' if suite.passed else '  FAILED'}")
    processor = sum(suite.processor for suite in suites)
    print(f"build {built:.0f} s with {building:.0f} s of processor time, "
          f"suites {time.monotonic() - begun - built:.0f} s with {processor:.0f} s")
    failed = [suite.name for suite in suites if not suite.passed]
    tests = sum(suite.tests for suite in suites)
    said = "FAILED" if failed else "ok"
    print(f"test result: {said}. {tests} tests passed in {len(suites)} suites; {len(failed)} suites failed")
    if failed:
        print(f"failed: {', '.join(failed)}")
    sys.exit(1 if failed or not suites else 0)


main()
