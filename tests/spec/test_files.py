import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstmkit.spec import LSTMKitError, atomic_write


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    return path


def write(path, content=b"new"):
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def only(path):
    return os.listdir(path.parent) == [path.name]


def test_write__matches_content__and_leaves_nothing_else(target):
    write(target)
    assert target.read_bytes() == b"new"
    assert only(target)


def test_write__preserves_permissions(target):
    target.chmod(0o640)
    write(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_write__matches_plain_open__in_permissions_of_a_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write(tmp_path / "own")
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_write__preserves_links(target, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_full_disk__preserves_old_file(target, monkeypatch, call):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(LSTMKitError, match=r"cannot write .*: no space left on device; nothing was changed"):
        write(target)
    assert target.read_bytes() == b"old"
    assert only(target)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_failing_write__preserves_old_file(target):
    with (
        pytest.raises(LSTMKitError, match="no space left on device"),
        atomic_write(target) as temporary,
        open("/dev/full", "wb", buffering=0) as full,
    ):
        temporary.write_bytes(b"half")
        full.write(b"x")
    assert target.read_bytes() == b"old"
    assert only(target)


@pytest.mark.parametrize("error", [KeyError("other"), KeyboardInterrupt()])
def test_other_errors__preserve_old_file_and_pass(target, error):
    with pytest.raises(type(error)), atomic_write(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert only(target)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing/model", "its folder does not exist"),
        ("file/model", "not a directory"),
        ("folder", "it is a folder"),
        ("x" * 300, "file name too long"),
    ],
    ids=["missing-folder", "file-as-folder", "folder", "long-name"],
)
def test_write__rejects_impossible_path(tmp_path, path, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(LSTMKitError, match=reason):
        write(tmp_path / path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_write__rejects_pipe__rather_than_replacing_it(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(LSTMKitError, match="it is no ordinary file"):
        write(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_write__rejects_unwritable_folder(target):
    target.parent.chmod(0o500)
    with pytest.raises(LSTMKitError, match="permission denied"):
        write(target)
    target.parent.chmod(0o700)
    assert target.read_bytes() == b"old"


def test_kill__preserves_old_file(target):
    code = (
        "import sys, time; from lstmkit.spec import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half'); print('writing', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert target.read_bytes() == b"old"
    write(target)
    assert target.read_bytes() == b"new"


def test_parallel_writes__leave_one_of_them_whole(target):
    code = (
        "import sys; from lstmkit.spec import atomic_write\n"
        "for _ in range(50):\n"
        "    with atomic_write(sys.argv[1]) as temporary: temporary.write_bytes(sys.argv[2].encode() * 100_000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(target), letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(Path(target).read_bytes())
        time.sleep(0.01)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen | {target.read_bytes()} <= {b"old", b"a" * 100_000, b"b" * 100_000}
    assert only(target)
