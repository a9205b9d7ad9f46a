"""What a namespace holds, told to another process: asked for in a kernel that knows nothing of records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from provcrt_kernel.session.fingerprint import fingerprint
from provcrt_kernel.session.kinship import enter
from provcrt_kernel.session.observe import joint_version


def versions(namespace: dict[str, Any], names: Iterable[str], groups: Iterable[tuple[str, ...]]) -> str:
    """Versions as `observe` gives them, as a JSON list of two objects.

    Returns
    -------
    str
        Name → version of its value, None where it has no stable content; names that do not exist are left out. And
        comma-joined names → joint version, for the groups whose names all exist.
    """
    there = [n for n in names if n in namespace]
    for name in there:
        enter(name, namespace[name], namespace)
    alone = {n: fingerprint(namespace[n], namespace).digest for n in there}
    whole = [tuple(g) for g in groups if all(n in namespace for n in g)]
    return json.dumps([alone, {",".join(g): joint_version(g, namespace, "x:") for g in whole}])
