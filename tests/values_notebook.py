"""A notebook's namespace for tests: code runs in it as cells would."""

import itertools
import json
import linecache
import subprocess
import sys
import textwrap

_numbers = itertools.count(1)


def notebook(*cells):
    """Run cells in a fresh namespace, their text known to linecache as a kernel would do it."""
    namespace = {"__name__": "__main__", "__builtins__": __builtins__}
    for cell in cells:
        run(namespace, cell)
    return namespace


def run(namespace, cell, filename=None):
    cell = textwrap.dedent(cell)
    filename = filename or f"<cell {next(_numbers)}>"
    linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
    exec(compile(cell, filename, "exec"), namespace)


def elsewhere(code, *arguments, cwd=None):
    """Run code as ``__main__`` of another process; what it prints as JSON."""
    code = textwrap.dedent(code)
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(cwd or "")},
        cwd=cwd,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)
