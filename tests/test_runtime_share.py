"""Shared files: what is opened is whole, and what is hostile changes nothing."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import zipfile

import msgspec
import pytest

from provcrt_kernel.provenance.audit import pack, unpack
from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.runtime.content import Content, Entry, lay
from provcrt_kernel.runtime.sandbox import problem
from provcrt_kernel.store import digest


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A shared file, made once."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.chdir(folder)
        (folder / "data").write_text("content\n")
        project = Project.open(folder)
        project.run(["cat", "data"], show=False)
        project.export("e1", folder / "a.provcrt")
    return folder / "a.provcrt"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")


def members(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def written(path, parts, extra=()):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in [*parts.items(), *extra]:
            file.writestr(name, data)
    return path


def refused(path, tmp_path):
    before = sorted(str(each) for each in tmp_path.rglob("*"))
    with pytest.raises(ProjectError) as caught:
        Project.load(tmp_path / "new", path, "hostile")
    assert "\n" not in str(caught.value)
    kept = tmp_path / "new" / ".provcrt" / "projects" / "hostile"
    assert not kept.exists()
    outside = {
        each for each in map(str, tmp_path.rglob("*")) if ".provcrt/" not in each and "/data" not in each
    }
    assert outside - set(before) <= {str(tmp_path / "new" / ".provcrt")}


def with_content(parts, change):
    """Return a file's members with another content in the execution."""
    manifest = msgspec.json.decode(parts["manifest.json"])
    command = manifest["executions"][0]["command"]
    content = unpack(parts[f"blobs/{command['content']}"], Content)
    data = pack(change(content))
    command["content"] = digest(data)
    return {**parts, "manifest.json": msgspec.json.encode(manifest), f"blobs/{digest(data)}": data}


def test_what_is_shared_is_what_is_opened(shared, tmp_path):
    project, ids = Project.load(tmp_path / "new", shared)
    assert (project.name, ids) == ("a", ["e1"])
    execution = project.show("e1")
    assert execution.origin == "a.provcrt"
    assert {each.kind for each in project.detail("e1").files} >= {"input", "system dependency"}
    with pytest.raises(ProjectError, match="not made by you"):
        project.repeat("e1", isolation=False, show=False)
    if problem() is None:
        assert project.repeat("e1", show=False).verdict.word == "reproduced"
    with pytest.raises(ProjectError, match="there is a project a already"):
        Project.load(tmp_path / "new", shared)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "blobs/../../evil",
        "blobs/x",
        "pickle.pkl",
        "manifest.json",
        "blobs/" + "0" * 33,
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_with_other_names_are_refused(shared, tmp_path, name):
    refused(written(tmp_path / "x.provcrt", members(shared), [(name, b"evil")]), tmp_path)


def test_a_blob_that_is_not_what_its_name_says_is_refused(shared, tmp_path):
    parts = members(shared)
    name = next(name for name in parts if name.startswith("blobs/"))
    refused(written(tmp_path / "x.provcrt", {**parts, name: parts[name] + b"x"}), tmp_path)
    refused(written(tmp_path / "x.provcrt", {key: parts[key] for key in parts if key != name}), tmp_path)


@pytest.mark.parametrize("path", ["/a/../../evil", "relative", "", "/", "/a\0b"])
def test_paths_that_lead_out_are_refused(shared, tmp_path, path):
    def change(content):
        return msgspec.structs.replace(
            content, entries=(*content.entries, Entry(path, "link", target="/etc"))
        )

    refused(written(tmp_path / "x.provcrt", with_content(members(shared), change)), tmp_path)


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("/a", "link", target="{out}"), Entry("/a/b", "file", digest="0")],
        [Entry("/a", "link", target="{out}"), Entry("/a", "file", digest="0")],
        [Entry("/a", "link", target="{out}"), Entry("/a", "dir")],
        [Entry("/a/b", "hollow"), Entry("/a/b/c", "hollow")],
        [Entry("/x/../../a", "hollow")],
    ],
)
def test_nothing_is_laid_through_a_link(tmp_path, entries):
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    out.mkdir()

    def fill(entry, place):
        with open(place, "xb"):
            return True

    placed = [msgspec.structs.replace(each, target=each.target.format(out=out)) for each in entries]
    with pytest.raises(ProjectError, match="damaged or hostile"):
        lay(placed, root, fill)
    assert list(out.iterdir()) == []


def test_bombs_are_refused(shared, tmp_path):
    data = bytearray(shared.read_bytes())
    place = data.rfind(b"PK\x01\x02")  # the last member claims to be huge
    data[place + 24 : place + 28] = b"\xfe\xff\xff\xff"
    (tmp_path / "x.provcrt").write_bytes(data)
    refused(tmp_path / "x.provcrt", tmp_path)


def test_a_notebook_that_leads_out_is_refused(shared, tmp_path):
    manifest = msgspec.json.decode(members(shared)["manifest.json"])
    execution = manifest["executions"][0]
    del execution["command"]
    for path in ("../../evil.ipynb", "/etc/evil.ipynb"):
        execution["notebook"] = {"path": path, "digest": "0" * 32}
        parts = {
            "manifest.json": msgspec.json.encode(manifest),
            "notebooks/e1/source.ipynb": b"{}",
            "notebooks/e1/executed.ipynb": b"{}",
        }
        refused(written(tmp_path / "x.provcrt", parts), tmp_path)


def test_damage_anywhere_is_one_line_or_no_harm(shared, tmp_path):
    """Whatever byte is changed: it opens as it was, or it is refused, and no other exception comes."""
    whole = shared.read_bytes()
    generator = random.Random(0)
    for number in range(30):
        data = bytearray(whole)
        for _ in range(generator.choice([1, 1, 8, 64])):
            tail = generator.random() < 0.5  # where zip keeps its directory
            data[generator.randrange(len(data) - 4096 if tail else 0, len(data))] = generator.randrange(256)
        if number % 5 == 0:
            data = data[: generator.randrange(len(data))]
        path = tmp_path / f"{number}.provcrt"
        path.write_bytes(data)
        with contextlib.suppress(ProjectError):
            project, _ = Project.load(tmp_path / "new", path)
            assert project.show("e1").command is not None
            shutil.rmtree(tmp_path / "new" / ".provcrt")
        path.unlink()
    assert sorted(os.listdir(tmp_path / "new")) in ([], [".provcrt"])


def test_a_file_that_is_none(tmp_path):
    for data in (b"", b"PK", os.urandom(1000), b"PK\x05\x06" + bytes(18)):
        (tmp_path / "x.provcrt").write_bytes(data)
        refused(tmp_path / "x.provcrt", tmp_path)
    with pytest.raises(ProjectError, match="does not exist"):
        Project.load(tmp_path, tmp_path / "none.provcrt")


def test_a_project_that_came_with_a_folder_is_not_ours(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    project = Project.open(tmp_path / "mine")
    project.run(["true"], show=False)
    assert project.repeat("e1", isolation=False, show=False).verdict.word == "reproduced"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another user"))
    with pytest.raises(ProjectError, match="not made by you"):
        project.repeat("e1", isolation=False, show=False)
