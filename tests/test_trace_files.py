"""What a span says about files: each kind of call, before and after the span's own changes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tracing import by_path, dump, flags, spans_of, traced

from provcrt_kernel.store.digest import digest, digest_file
from provcrt_kernel.trace.preimage import preserve

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("mechanism")


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with an old file, an old directory and links, in a place that resolves to itself."""
    folder = tmp_path.resolve() / "world"
    (folder / "dir" / "deep").mkdir(parents=True)
    for name in ("a", "b", "dir/c", "dir/deep/d"):
        (folder / name).write_text(f"old {name}")
        os.utime(folder / name, (1e9, 1e9))
    (folder / "to_dir").symlink_to("dir")
    (folder / "to_a").symlink_to("a")
    return folder


CASES = {
    # name: (what is done, flags of each path afterwards)
    "read": ("open('a').read()", {"a": "r"}),
    "absent": ("os.path.exists('no')", {"no": "s"}),
    "absent open": ("\ntry: open('no')\nexcept OSError: pass", {"no": "s"}),
    "absent below absent": ("os.path.exists('no/where')", {"no/where": "s"}),
    "below a file": ("os.path.exists('a/where')", {"a/where": "s"}),
    "stat": ("os.stat('a')", {"a": "s"}),
    "truncate": ("open('a', 'w').close()", {"a": "w"}),
    "append": ("f = open('a', 'a'); f.write('x'); f.close()", {"a": "rw"}),
    "append to nothing": ("f = open('n', 'a'); f.write('x'); f.close()", {"n": "sw"}),
    "create": ("open('n', 'w').close()", {"n": "w"}),
    "create exclusively": ("open('n', 'x').close()", {"n": "sw"}),
    "create, then read": ("open('n', 'w').close(); open('n').read(); os.stat('n')", {"n": "w"}),
    "read, then replace": ("open('a').read(); open('a', 'w').close()", {"a": "rw"}),
    "replace, then read": ("open('a', 'w').close(); open('a').read()", {"a": "w"}),
    "update without a change": ("time.sleep(0.05); open('a', 'r+').close()", {"a": "r"}),
    "update": ("f = open('a', 'r+'); f.write('x'); f.close()", {"a": "rw"}),
    "remove": ("os.unlink('a')", {"a": "sd"}),
    "remove nothing": ("\ntry: os.unlink('no')\nexcept OSError: pass", {"no": "s"}),
    "temporary": ("open('n', 'x').close(); os.unlink('n')", {"n": ""}),
    "written and removed": ("open('n', 'w').close(); os.unlink('n')", {"n": "s"}),
    "temporary directory": (
        "os.mkdir('n'); open('n/x', 'w').close(); os.path.exists('n/y'); os.listdir('n'); "
        "os.unlink('n/x'); os.rmdir('n')",
        {"n": "", "n/x": "", "n/y": ""},
    ),
    "probe, then temporary": ("os.path.exists('n'); open('n', 'w').close(); os.unlink('n')", {"n": "s"}),
    "replace by rename": (
        "open('n', 'w').close(); os.rename('n', 'a'); open('a').read()",
        {"n": "s", "a": "w"},
    ),
    "rename": ("os.rename('a', 'n')", {"a": "rd", "n": "w"}),
    "rename a directory": (
        "os.rename('dir', 'n')",
        {
            "dir": "sld",
            "dir/c": "rd",
            "dir/deep": "sld",
            "dir/deep/d": "rd",
            "n": "sw",
            "n/c": "w",
            "n/deep/d": "w",
        },
    ),
    "link": ("os.link('a', 'n')", {"a": "r", "n": "sw"}),
    "symlink": ("os.symlink('a', 'n')", {"n": "sw", "a": ""}),
    "through a link": ("open('to_a').read()", {"to_a": "s", "a": "r"}),
    "the link itself": ("os.readlink('to_a')", {"to_a": "s", "a": ""}),
    "through a directory link": ("open('to_dir/c').read()", {"to_dir": "s", "dir/c": "r", "to_dir/c": ""}),
    "up again": ("open('to_dir/deep/../c').read()", {"to_dir": "s", "dir/c": "r"}),
    "by descriptor": (
        "d = os.open('dir', os.O_RDONLY); os.stat('c', dir_fd=d); os.close(d)",
        {"dir": "s", "dir/c": "s"},
    ),
    "mkdir": ("os.mkdir('n')", {"n": "sw"}),
    "mkdir over": ("\ntry: os.mkdir('dir')\nexcept OSError: pass", {"dir": "s"}),
    "rmdir": (
        "os.unlink('dir/c'); os.unlink('dir/deep/d'); os.rmdir('dir/deep'); os.rmdir('dir')",
        {"dir": "sld", "dir/c": "sd", "dir/deep": "sld"},
    ),
    "list": ("os.listdir('dir')", {"dir": "sl"}),
    "chmod": ("os.chmod('a', 0o600)", {"a": "sw"}),
    "truncate by name": ("os.truncate('a', 2)", {"a": "rw"}),
    "utime": ("os.utime('a')", {"a": "sw"}),
    "chmod by descriptor": ("f = open('a'); os.fchmod(f.fileno(), 0o600)", {"a": "rsw"}),
    "utime by descriptor": ("f = open('a'); os.utime(f.fileno(), (1, 1))", {"a": "rsw"}),
    "attributes by descriptor": ("f = open('a'); os.setxattr(f.fileno(), 'user.a', b'x')", {"a": "rsw"}),
    "chmod of no name": (
        "f = open('n', 'x+'); os.unlink('n'); os.fchmod(f.fileno(), 0o600)",
        {"n": "", "n (deleted)": ""},
    ),
    "through /proc": (
        "f = open('a'); os.stat(f'/proc/self/fd/{f.fileno()}'); open('/dev/fd/' + str(f.fileno())).read()",
        {"a": "rs"},
    ),
    "chdir": (
        "os.chdir('dir'); open('c').read(); os.chdir('..'); open('b').read()",
        {"dir/c": "r", "b": "r"},
    ),
    "in a thread": (
        "t = threading.Thread(target=lambda: open('a').read()); t.start(); t.join()",
        {"a": "r"},
    ),
    "byte code": ("os.mkdir('__pycache__'); open('__pycache__/x.pyc', 'w').close()", {"__pycache__": ""}),
    "swap by rename": (
        "open('n', 'w').write('x'); os.rename('a', 'old'); os.rename('n', 'a'); os.rename('old', 'n')",
        {"a": "rw", "n": "w", "old": "s"},
    ),
    "link changes": (
        "os.stat('to_dir/c'); os.unlink('to_dir'); os.symlink('dir/deep', 'to_dir'); os.stat('to_dir/d')",
        {"dir/c": "s", "to_dir": "sw", "dir/deep/d": "s"},
    ),
}


def test_each_call(world: Path, tmp_path: Path) -> None:
    """One kernel process, one span per case, each in a fresh copy of the world."""
    body = "import shutil\n"
    for index, (code, _) in enumerate(CASES.values()):
        body += f"shutil.copytree({str(world)!r}, {str(world)!r} + '{index}', symlinks=True)\n"
        body += f"os.chdir({str(world)!r} + '{index}')\n"
        body += "with span('x'):\n" + "".join(f"    {line}\n" for line in code.split("\n"))
    spans = traced(body, tmp_path)
    assert len(spans) == len(CASES)
    wrong = {}
    for index, ((name, (_, wanted)), span) in enumerate(zip(CASES.items(), spans, strict=True)):
        found = by_path(span)
        got = {path: flags(found.get(f"{world}{index}/{path}")) for path in wanted}
        if got != {path: "".join(sorted(want, key="rselwd".index)) for path, want in wanted.items()}:
            wrong[name] = (got, wanted, dump(span))
        assert span.complete, (name, span.problems)
    assert not wrong


def test_details(world: Path, tmp_path: Path) -> None:
    old = digest_file(world / "a")
    old_stat = os.lstat(world / "a")
    spans = traced(
        f"""
        os.chdir({str(world)!r})
        with span("replace"):
            open("a", "w").write("new")
            os.unlink("dir/c")
            open("dir/n", "w").close()
            os.listdir("dir")
            os.listdir("/")
            open("to_a").read()
        with span("child"):
            subprocess.run(["mkdir", "-p", "dir/x/y"])
            os.mkdir("dir/z")
        with span("nothing"):
            pass
        """,
        tmp_path,
    )
    replace, child, nothing = spans
    found = by_path(replace)
    a = found[f"{world}/a"]
    assert a.before_digest == old
    assert a.first is not None
    assert (a.first.size, a.first.mtime_ns, a.first.ino) == (
        old_stat.st_size,
        old_stat.st_mtime_ns,
        old_stat.st_ino,
    )
    assert (a.by_kernel, a.by_child) == (True, False)
    assert found[f"{world}/dir"].listing == digest(b"c\0deep")  # as it was before the span
    assert found[f"{world}/dir"].listing_except == ("n",)
    assert found[f"{world}/to_a"].link == "a"
    found = by_path(child)
    assert found[f"{world}/dir/x"].tolerant
    assert found[f"{world}/dir/x/y"].by_child
    assert not found[f"{world}/dir/z"].tolerant
    assert [process.argv for process in child.processes] == [("mkdir", "-p", "dir/x/y")]
    assert child.processes[0].cwd == str(world)
    assert not nothing.accesses
    assert nothing.complete


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(bytes(str(tmp_path.resolve()), "utf-8") + b"/\xff\xfe caf\xc3\xa9")
    (span,) = traced(f"with span('\\udcff'):\n    open({name!a}, 'w').close()", tmp_path)
    assert span.name == "\udcff"
    assert flags(by_path(span)[name]) == "w"


def test_large_old_content_is_hashed_while_others_go_on(tmp_path: Path) -> None:
    big = tmp_path.resolve() / "big"
    big.write_bytes(os.urandom(1 << 20) * 200)
    wanted = digest_file(big)
    (span,) = traced(
        f"""
        def other():
            for i in range(300):
                os.path.exists(f"/nowhere/{{i}}")
        with span("x"):
            threads = [threading.Thread(target=lambda: open({str(big)!r}, "w").close()) for _ in range(3)]
            threads += [threading.Thread(target=other) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """,
        tmp_path,
    )
    found = by_path(span)
    assert found[str(big)].before_digest == wanted
    assert flags(found[str(big)]) == "w"
    assert sum(path.startswith("/nowhere/") for path in found) == 300
    assert span.complete


def test_who_asked_for_the_names_of_a_directory(world: Path, tmp_path: Path) -> None:
    """A child that only looks at a directory has not asked for its names, whatever the kernel process does there."""
    asked = {"kernel": "os.listdir('dir')", "child": "subprocess.run(['ls', 'dir'])"}
    looked = "subprocess.run(['stat', 'dir'])"
    bodies = {
        (): looked,
        ("kernel",): f"{asked['kernel']}; {looked}",
        ("child",): f"os.stat('dir'); {asked['child']}",
        ("kernel", "child"): f"{asked['kernel']}; {asked['child']}",
        ("child", "kernel"): f"{asked['child']}; {asked['kernel']}",
    }
    lines = [f"with span({repr(who)!r}): {body}" for who, body in bodies.items()]
    spans = traced("\n".join((f"os.chdir({str(world)!r})", *lines)), tmp_path, stdout=subprocess.DEVNULL)
    for who, span in zip(bodies, spans, strict=True):
        access = by_path(span)[str(world / "dir")]
        assert (access.listed, access.listed_by_child) == (bool(who), "child" in who), who


def test_ignore(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "store").mkdir()
    (span,) = traced(
        f"""
        os.chdir({str(root)!r})
        with span("x"):
            for name in ("store/x", "hist.db", "hist.db-wal", "storefront"):
                open(name, "w").close()
        """,
        tmp_path,
        ignore=(f"{root}/store", f"{root}/hist*"),
    )
    assert [access.path for access in span.accesses if access.written] == [f"{root}/storefront"]


def test_what_was_read_is_kept_before_it_changes(world: Path, tmp_path: Path) -> None:
    keep = tmp_path.resolve() / "keep"
    (world / "big").write_bytes(os.urandom(1 << 20))
    old = {path: (world / path).read_bytes() for path in ("a", "b", "dir/c", "dir/deep/d", "big")}
    traced(
        f"""
        import shutil
        os.chdir({str(world)!r})
        tracer.begin("x")
        open("a").read(); open("a", "w").write("cut")
        open("b").read(); open("n", "w").write("over"); os.rename("n", "b")
        with open("dir/c", "r+") as file: file.write("update")
        open("dir/deep/d").read(); os.unlink("dir/deep/d")
        open("big", "ab").write(b"x")
        open("to_a", "w").write("twice")
        open("fresh", "w").write("made here"); open("fresh").read(); open("fresh", "w").close()
        kept = tracer.end()
        for access in kept.accesses:
            if access.before_file: shutil.copy(access.before_file, {str(tmp_path)!r} + "/" + access.before_digest)
        keep(kept)
        with span("next"): pass
        """,
        tmp_path,
        keep=str(keep),
    )
    span, _ = spans_of(tmp_path)
    found = by_path(span)
    for path, content in old.items():
        access = found[f"{world}/{path}"]
        assert access.read, path
        assert access.before_digest == digest(content), path
        assert (tmp_path / digest(content)).read_bytes() == content, path
    assert found[f"{world}/fresh"].before_file is None
    assert not keep.exists()  # emptied by the next span, removed at the end


def test_old_content_that_cannot_be_kept_is_hashed_and_said(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 5000)
    too_large = preserve(bytes(source), bytes(tmp_path / "kept"), largest=4999)
    assert too_large.digest == digest(b"x" * 5000)
    # where blocks can be shared nothing is copied, and so nothing is too large
    assert (too_large.kept is None) == (too_large.problem is not None)
    (tmp_path / "file").touch()
    nowhere = preserve(bytes(source), bytes(tmp_path / "file" / "below"))
    assert (nowhere.digest, nowhere.kept) == (digest(b"x" * 5000), None)
    assert nowhere.problem
