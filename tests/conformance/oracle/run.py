#!/usr/bin/env python3
"""Runs the oracle: `run.py generate` writes the vectors, `run.py check` compares them,
`run.py redis ...` drives the published Redis connector (redis_connector.py), `run.py serve ...`
serves the connector over HTTP (serve.py), `run.py sdk ...` calls the published SDK
(tests/suites/sdk/client.py), `run.py streams` runs clients of streams
(tests/suites/stream_clients/clients.py), `run.py mcp NAME` runs a script of
tests/suites/mcp_clients with the published MCP package of its language.

Needs only the standard library of any Python from 3.9 on. The published connector itself
needs Python 3.12, so this script looks for one, makes a virtual environment with exactly the
packages of requirements.txt, and starts generate.py in it.

Exit status: 0 done, 1 the vectors differ or a case contradicts the oracle, 3 no Python >= 3.12
or no Node.js.
"""

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
REQUIREMENTS = os.path.join(HERE, "requirements.txt")
SERVER_REQUIREMENTS = os.path.join(HERE, "server-requirements.txt")
SDK = os.path.join(PROJECT, "tests", "suites", "sdk")
STREAMS = os.path.join(PROJECT, "tests", "suites", "stream_clients")
MCP = os.path.join(PROJECT, "tests", "suites", "mcp_clients")
NEWEST = (3, 14)  # requirements.txt holds wheels for CPython 3.12 to 3.14
OLDEST = (3, 12)


def version_of(python):
    """(major, minor) of an interpreter that can make virtual environments, or None."""
    probe = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    parts = done.stdout.split()
    return (int(parts[0]), int(parts[1])) if done.returncode == 0 and len(parts) == 2 else None


def find_python():
    names = [shutil.which(name) for name in ("python3.14", "python3.13", "python3.12", "python3")]
    names += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3")), reverse=True)
    for python in [os.environ.get("ORACLE_PYTHON")] + names:
        version = version_of(python) if python else None
        if version and OLDEST <= version <= NEWEST:
            return python, version
    return None, None


def environment(*requirements):
    """The Python of an environment with these files' packages, which is made when not there."""
    python, version = find_python()
    if python is None:
        print("oracle: no Python 3.12, 3.13 or 3.14 found (the connector needs one); "
              "install it or set ORACLE_PYTHON", file=sys.stderr)
        sys.exit(3)
    digest = hashlib.sha256()
    for name in requirements:
        with open(name, "rb") as file:
            digest.update(file.read())
    place = os.path.join(PROJECT, ".tools", "oracle",
                         "%s-cp%d%d" % ((digest.hexdigest()[:16],) + version))
    inside = os.path.join(place, "bin", "python")
    ready = os.path.join(place, "ready")
    os.makedirs(os.path.dirname(place), exist_ok=True)
    # Tests run at the same time; one of them makes it, the others wait.
    lock = open(os.path.join(os.path.dirname(place), "lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not os.path.exists(ready):
        print("oracle: making %s" % os.path.relpath(place, PROJECT), file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([python, "-m", "venv", place], check=True)
        subprocess.run(
            [inside, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps",
             "--only-binary=:all:", "--require-hashes"]
            + [word for name in requirements for word in ("-r", name)],
            check=True,
        )
        with open(ready, "w") as file:
            file.write("ok\n")
    lock.close()
    return inside


def node_script(name):
    """A script of the MCP suite where Node.js finds the packages of its package-lock.json."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("oracle: no Node.js and npm found (Debian: nodejs, npm)", file=sys.stderr)
        sys.exit(3)
    files = [os.path.join(MCP, name) for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(open(file, "rb").read() for file in files))
    place = os.path.join(PROJECT, ".tools", "oracle", "node-" + digest.hexdigest()[:16])
    os.makedirs(os.path.dirname(place), exist_ok=True)
    lock = open(os.path.join(os.path.dirname(place), "lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not os.path.exists(os.path.join(place, "ready")):
        print("oracle: making %s" % os.path.relpath(place, PROJECT), file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        for file in files:
            shutil.copy(file, place)
        subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
            cwd=place, check=True, stdout=sys.stderr,
        )
        with open(os.path.join(place, "ready"), "w") as file:
            file.write("ok\n")
    source = open(os.path.join(MCP, name), "rb").read()
    stem, extension = os.path.splitext(name)
    script = os.path.join(
        place, "%s-%s%s" % (stem, hashlib.sha256(source).hexdigest()[:16], extension))
    if not os.path.exists(script):
        with open(script + ".new", "wb") as file:
            file.write(source)
        os.rename(script + ".new", script)
    lock.close()
    return script


def main():
    known = ("generate", "check", "redis", "serve", "sdk", "streams", "mcp")
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        print("usage: run.py generate | check | redis ... | serve ... | sdk ... | streams | mcp NAME",
              file=sys.stderr)
        return 2
    if sys.argv[1] == "mcp":
        name = os.path.basename(sys.argv[2])
        if name.endswith(".mjs"):
            os.execvp("node", ["node", node_script(name)])
        python = environment(os.path.join(MCP, "requirements.txt"))
        os.execv(python, [python, "-E", "-s", "-B", os.path.join(MCP, name)])
    script, arguments = "generate.py", sys.argv[1:]
    if sys.argv[1] == "redis":
        script, arguments = "redis_connector.py", sys.argv[2:]
    elif sys.argv[1] == "serve":
        script, arguments = "serve.py", sys.argv[2:]
    options = ["-E", "-s", "-B", os.path.join(HERE, script)] + arguments
    if sys.argv[1] == "sdk":
        options = ["-E", "-s", "-B", os.path.join(SDK, "client.py")] + sys.argv[2:]
        python = environment(os.path.join(SDK, "requirements.txt"))
        os.execv(python, [python] + options)
    if sys.argv[1] == "streams":
        options = ["-E", "-s", "-B", os.path.join(STREAMS, "clients.py")]
        python = environment(os.path.join(STREAMS, "requirements.txt"))
        os.execv(python, [python] + options)
    if sys.argv[1] == "serve":
        # In place of this process: who started it stops the server by the same process id.
        python = environment(REQUIREMENTS, SERVER_REQUIREMENTS)
        os.execv(python, [python] + options)
    return subprocess.run([environment(REQUIREMENTS)] + options).returncode


if __name__ == "__main__":
    sys.exit(main())
