"""The environment of a run, less what nobody else may see: tokens, keys and passwords, by name and by shape."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAMES = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|(^|_)KEY$|(^|_)PWD_|(^|_)PASS$|"
    r"(^|_)AUTH($|_)|COOKIE|CONNECTION_STRING|DATABASE_URL|(^|_)DSN$|SSH_AUTH_SOCK|GPG_|NETRC",
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|gh[pousr]_\w{30,}|github_pat_\w{20,}|glpat-[\w-]{18,}|sk-[\w-]{18,}|xox[abprs]-[\w-]{10,}|"
    r"hf_[A-Za-z]{20,}|AIza[\w-]{30,}|ey[JK][\w-]{8,}\.[\w-]{8,}\.|-----BEGIN [A-Z ]*PRIVATE KEY|"
    r"[a-z][\w+.-]*://[^/\s:@]*:[^/\s@]+@|pypi-\w{16,}|npm_\w{30,}"
)


def without_secrets(environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split an environment.

    Returns
    -------
    dict of str to str
        What may be kept.
    tuple of str
        The names of what may not, sorted.
    """
    kept, left_out = {}, []
    for name, value in environ.items():
        if value and (_NAMES.search(name) or _SHAPES.search(value)):
            left_out.append(name)
        else:
            kept[name] = value
    return kept, tuple(sorted(left_out))
