"""Shared files made to harm whoever opens them: nothing outside of the sandbox is touched, and every refusal is one line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from test_runtime_commands import needs_sandbox
from test_runtime_share import elsewhere, members, shared, with_content, written

from provcrt_kernel.cli import main
from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.runtime.content import Entry, led, make_folder
from provcrt_kernel.runtime.sandbox import problem
from provcrt_kernel.store import StoreError, digest

__all__ = ["elsewhere", "shared"]  # fixtures


def opened(tmp_path, parts, name="hostile"):
    return Project.load(tmp_path / "new", written(tmp_path / f"{name}.provcrt", parts), name)[0]


def outside(tmp_path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    folder.chmod(0o750)
    (folder / "secret").write_text("the secret")
    return folder


def unharmed(folder: Path) -> bool:
    names = sorted(each.name for each in folder.iterdir())
    return (stat.S_IMODE(folder.stat().st_mode), names) == (0o750, ["secret"])


@needs_sandbox
@pytest.mark.parametrize("place", ["/tmp", "/var/tmp", "/etc", "/usr", "/home", "/x"])
def test_links_that_lead_out_of_the_root_are_followed_by_nobody(shared, tmp_path, place):
    folder = outside(tmp_path)
    parts = members(shared)
    data = b"evil"

    def change(content):
        """Lay a link where folders, files of the system and users' names would be laid."""
        return msgspec.structs.replace(
            content,
            entries=(*content.entries, Entry(place, "link", target=str(folder))),
            system=(*content.system, Entry(f"{place}/evil", "file", digest(data), size=len(data))),
            folders=(*content.folders, f"{place}/made", f"{place}/further/made"),
        )

    changed = {**with_content(parts, change), f"blobs/{digest(data)}": data}
    with contextlib.suppress(ProjectError):
        project = opened(tmp_path, changed)
        project.repeat("e1", show=False, output=tmp_path / "out")
    assert unharmed(folder)


@needs_sandbox
def test_what_becomes_a_link_while_it_runs_is_not_followed_afterwards(tmp_path, monkeypatch):
    """A run may put a link of its own where it wrote a file: whoever looks at what it left does not go there."""
    folder = outside(tmp_path)
    work = tmp_path / "new"
    (work / "main.sh").write_text(
        f"#!/bin/sh\nmkdir -p d\necho mine > d/secret\nif test -e switch; then rm -r d; ln -s {folder} d; fi\n"
    )
    (work / "main.sh").chmod(0o755)
    project = Project.open(work)
    project.run(["./main.sh"], show=False)
    (work / "on").write_text("")
    project.given("e1", [], show=False)
    script = (work / "main.sh").read_text().replace("test -e switch", "true")
    (work / "main.sh").write_text(script)
    committed = project.commit("e1", show=False)
    again = project.repeat(committed.id, show=False, output=tmp_path / "out")
    assert again.verdict.word == "reproduced"
    kept = [
        each.read_bytes()
        for each in (tmp_path / "out").rglob("*")
        if each.is_file() and not each.is_symlink()
    ]
    assert b"the secret" not in kept
    with project.archive.store() as store:
        assert not store.has(digest(b"the secret"))
    assert unharmed(folder)


def test_a_checkout_hands_nothing_of_ours_over(shared, tmp_path):
    """A link in what somebody else made leads to a file of ours: an edit beside it does not take that along."""
    folder = outside(tmp_path)
    cwd = msgspec.json.decode(members(shared)["manifest.json"])["executions"][0]["command"]["cwd"]

    def change(content):
        link = Entry(f"{cwd}/notes", "link", target=str(folder / "secret"))
        return msgspec.structs.replace(content, entries=(*content.entries, link))

    project = opened(tmp_path, with_content(members(shared), change))
    project.checkout("e1", tmp_path / "copy")
    (tmp_path / "copy" / "data").write_text("edited\n")
    with contextlib.suppress(ProjectError):
        project.commit("e1", show=False)
    with project.archive.store() as store:
        assert not store.has(digest(b"the secret"))


def test_paths_are_led_as_inside_of_the_root(tmp_path):
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    for name, target in (("abs", "/real"), ("up", "../../../real"), ("out", str(tmp_path)), ("ring", "ring")):
        (root / name).symlink_to(target)
    assert led(root, "/abs/x") == f"{root}/real/x"
    assert led(root, "/up/x/./y") == f"{root}/real/x/y"
    assert led(root, "/out/x") == f"{root}{tmp_path}/x"
    with pytest.raises(ProjectError, match="circle"):
        led(root, "/ring/x")
    make_folder(root, "/out/deep/er")
    assert (root / str(tmp_path)[1:] / "deep" / "er").is_dir()
    assert (
        sorted(each.name for each in tmp_path.iterdir()) == ["data", "new", "root"]
        or not (tmp_path / "deep").exists()
    )
    (root / "file").write_text("")
    with pytest.raises(ProjectError, match="as a folder"):
        make_folder(root, "/file/x")


def told(project_folder: Path, capsys) -> None:
    """Ask everything that can be asked of an execution: each answer is one, or one line on why there is none."""
    os.chdir(project_folder)
    for words in (
        ["list"], ["list", "--json"], ["show", "e1"],
        ["show", "--detail", "e1"], ["why", "e1", "data"], ["used-by", "e1", "data"],
        *(["prov", "e1", "--format", each] for each in ("json", "n", "xml", "turtle", "mermaid", "svg")),
        ["requirements", "e1", "--format", "readme"], ["diff", "e1", "e1"], ["export", "e1", "again.provcrt"], ["commit"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as caught:
            main(words)
        out, err = capsys.readouterr()
        assert caught.value.code in (0, 1), (words, err)
        assert err.count("\n") <= 1 or caught.value.code == 0, (words, err)
        assert "\x1b" not in out + err


@pytest.mark.parametrize(
    "change",
    [
        {"started": 1e300, "seconds": -1e300},
        {"parent": "e1"},
        {"parent": "e2"},
        {"user": "\x1b[2J\nroot"},
        {"changes": ["\x1b]0;title\x07\n\n"]},
        {"parameters": {"\x1b[31m": "\x1b"}},
        {"environment": {"python": "\x1b[2J", "platform": "\n", "packages": {"\x1b": "\n"}}},
        {"command": {"argv": ["\x1b[2J", "\n"]}},
        {"command": {"cwd": "/\x1b[2J"}},
        {"command": {"environ": {"A=B": "x", "\x00": "y"}}},
        {"command": {"network": ["\x1b[2J"], "problems": ["\x1b[2J\n"], "left_out": ["\x1b"]}},
        {"command": {"status": 10**9, "umask": -1, "size": -1}},
        {"command": {"streams": {"../../evil": "0" * 32}}},
        {"command": {"audit": "../../../etc/passwd"}},
    ],
    ids=str,
)
def test_what_a_stranger_wrote_does_no_harm_when_it_is_told(shared, tmp_path, capsys, change):
    parts = members(shared)
    manifest = msgspec.json.decode(parts["manifest.json"])
    for name, value in change.items():
        if name == "command":
            manifest["executions"][0]["command"] |= value
        else:
            manifest["executions"][0][name] = value
    with contextlib.suppress(ProjectError):
        opened(tmp_path, {**parts, "manifest.json": msgspec.json.encode(manifest)})
        told(tmp_path / "new", capsys)


def test_a_pickle_is_never_opened(shared, tmp_path):
    """Whatever is in a blob: it is looked at as msgpack or not at all."""
    data = b"cos\nsystem\n(S'touch " + os.fsencode(tmp_path / "owned") + b"'\ntR."
    parts = members(shared)
    manifest = msgspec.json.decode(parts["manifest.json"])
    for name in ("audit", "content"):
        manifest["executions"][0]["command"][name] = digest(data)
    changed = {**parts, "manifest.json": msgspec.json.encode(manifest), f"blobs/{digest(data)}": data}
    with pytest.raises(ProjectError, match="damaged or hostile"):
        opened(tmp_path, changed)
    assert not (tmp_path / "owned").exists()


@pytest.mark.skipif(bool(problem()), reason="nothing can be isolated here")
def test_what_others_made_gets_no_network_unasked(tmp_path, monkeypatch):
    """Nor does what comes of it; the namespace's number tells which network there is."""
    ask = "(exec 3<>/dev/udp/192.0.2.1/9) 2>/dev/null; echo $0; readlink /proc/self/ns/net"
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path / "made")
    own = Project.open(tmp_path / "made")
    own.run(["bash", "-c", ask, "once"], show=False)
    assert own.repeat("e1", show=False).verdict.word == "reproduced"
    own.export("e1", tmp_path / "a.provcrt")

    monkeypatch.chdir(tmp_path / "new")
    opened, _ = Project.load(tmp_path / "new", tmp_path / "a.provcrt", "shared")
    opened.given("e1", ["again"], ["%3"], show=False)
    for id in ("e1", "e2"):
        repetition = opened.repeat(id, show=False)
        assert repetition.verdict.word == "diverged"
        [line] = [line for line in repetition.command.problems if "--network" in line]
        assert "192.0.2.1" in line
    repetition = Project.find(tmp_path / "new", network=True).repeat("e1", show=False)
    assert repetition.verdict.word == "reproduced"
    assert not repetition.command.problems


def test_a_file_of_a_newer_version_says_so(shared, tmp_path):
    parts = members(shared)
    manifest = msgspec.json.decode(parts["manifest.json"])
    manifest["format"] = 999
    with pytest.raises(ProjectError, match="newer version"):
        opened(tmp_path, {**parts, "manifest.json": msgspec.json.encode(manifest)})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One folder for all examples: a fixture for each of them cannot be had."""
    return tmp_path_factory.mktemp("fuzz")


def tried(scratch: Path, path: Path) -> None:
    """Open a file, and tell of it what is told most: only our own errors may come, and nothing is left by a refusal."""
    new = scratch / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        project, ids = Project.load(new, path, "x")
    except (ProjectError, StoreError):
        assert not (new / ".provcrt" / "projects" / "x").exists()
        return
    with contextlib.suppress(ProjectError, StoreError):
        for each in ids:
            project.show(each)
            project.detail(each)
            project.told(each, "json")
    assert {each.name for each in new.iterdir()} <= {".provcrt"}


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=30
    ),
    tail=st.booleans(),
    cut=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_any_bytes_may_be_changed(shared, scratch, edits, tail, cut):
    data = bytearray(shared.read_bytes())
    start = max(0, len(data) - 8192) if tail else 0
    for place, byte in edits:
        data[start + int(place * (len(data) - start))] = byte
    path = scratch / "x.provcrt"
    path.write_bytes(data[: int(cut * len(data))] if cut is not None else data)
    tried(scratch, path)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_anything_in_the_manifest_and_the_content_may_be_changed(shared, scratch, data):
    parts = members(shared)
    manifest = msgspec.json.decode(parts["manifest.json"])
    where = manifest
    for _ in range(data.draw(st.integers(0, 5))):
        inner = where.values() if isinstance(where, dict) else where
        deeper = [each for each in inner if isinstance(each, dict | list) and each]
        if not deeper:
            break
        where = data.draw(st.sampled_from(deeper))
    key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
    if data.draw(st.booleans()):
        where[key] = data.draw(values)
    elif isinstance(where, dict):
        del where[key]
    text = json.dumps(manifest).encode()
    path = scratch / "y.provcrt"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**parts, "manifest.json": text}.items():
            file.writestr(name, content)
    tried(scratch, path)
