"""``python -m provcrt_kernel -f FILE`` runs the kernel under its supervisor; ``install`` writes its kernelspec."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Start what the arguments ask for; a kernel does not return."""
    if sys.argv[1:2] == ["install"]:
        from provcrt_kernel.kernel.install import main as install

        sys.exit(install(sys.argv[2:]))
    if os.environ.get("PYTHONHASHSEED") != "0":
        # the order of sets is part of what cells compute: it must be the same in every session
        os.execve(
            sys.executable,
            [sys.executable, "-m", "provcrt_kernel", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    from provcrt_kernel.trace.process import supervise

    supervise(_kernel)


def _kernel() -> None:
    from provcrt_kernel.kernel.app import main as kernel

    kernel()


if __name__ == "__main__":
    main()
