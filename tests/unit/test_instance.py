"""The instance folder: where it is, who may hold it, and what it says when it cannot be used."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plantprint_cli.embedded import Instance, InstanceError, InstanceSettings, UnsupportedPlatformError
from plantprint_cli.embedded.errors import require_linux, require_posix
from plantprint_cli.embedded.folders import default_path, find_account
from plantprint_cli.embedded.instance import ChildRecord
from plantprint_cli.embedded.logs import SizeLimitedLog
from plantprint_cli.embedded.processes import find_identity, is_running

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


@pytest.fixture
def folder() -> Iterator[Path]:
    """pytest's own temporary folders are 0700, which as root is out of the database's reach."""
    made = Path(tempfile.mkdtemp(prefix="plantprint-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def test_folder_is_created_with_its_parts(folder: Path) -> None:
    with Instance.open(folder / "a" / "b") as instance:
        assert instance.path == folder / "a" / "b"
        for part in (instance.logs_dir, instance.run_dir, instance.socket_dir):
            assert stat.S_IMODE(part.stat().st_mode) == 0o700
        assert instance.postgres_data_dir(18).name == "postgres-18"


def test_second_holder_is_refused_with_folder_pid_and_remedy(folder: Path) -> None:
    with Instance.open(folder), pytest.raises(InstanceError) as caught:
        Instance.open(folder)
    assert str(folder) in str(caught.value)
    assert f"`kill {os.getpid()}`" in str(caught.value)
    assert "PLANTPRINT_HOME" in str(caught.value)
    Instance.open(folder).close()


def test_lock_ends_with_its_process(folder: Path) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from plantprint_cli.embedded import Instance;"
        "i = Instance.open(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", holder, str(folder)], stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InstanceError, match=f"process {process.pid}"):
            Instance.open(folder)
        process.kill()
        process.wait()
    Instance.open(folder).close()


def test_default_folder_follows_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTPRINT_HOME", "/somewhere/else")
    assert default_path() == Path("/somewhere/else")
    monkeypatch.delenv("PLANTPRINT_HOME")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_path() == Path("/var/lib/plantprint")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_path() == Path.home() / ".local/share/plantprint"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_path() == Path("/data/plantprint")


@as_root
def test_folder_below_a_closed_parent_is_refused_and_names_the_parent(folder: Path) -> None:
    closed = folder / "home"
    closed.mkdir(mode=0o700)
    with pytest.raises(InstanceError) as caught:
        Instance.open(closed / "plantprint")
    assert f"cannot enter {closed} (mode 0700)" in str(caught.value)
    assert f"`chmod o+x {closed}`" in str(caught.value)


@as_user
def test_unwritable_folder_is_refused(folder: Path) -> None:
    folder.chmod(0o500)
    for path in (folder, folder / "below"):
        with pytest.raises(InstanceError, match="Permission denied"):
            Instance.open(path)
    folder.chmod(0o700)


def test_folder_that_cannot_be_made_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    for path in (folder / "file", folder / "file" / "below", Path("/proc/plantprint/x")):
        with pytest.raises(InstanceError, match="cannot be used"):
            Instance.open(path)


def test_full_disk_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(InstanceError, match="MB are free") as caught:
        Instance.open(folder, InstanceSettings(disk_free_mb_min=10**9))
    assert "disk_free_mb_min" in str(caught.value)
    Instance.open(folder).close()


def test_unknown_or_mighty_database_user_is_refused() -> None:
    with pytest.raises(InstanceError, match="no user 'nobody-at-all'"):
        find_account("nobody-at-all")
    with pytest.raises(InstanceError, match="is root"):
        find_account("root")


def test_long_path_gets_a_short_socket_folder(folder: Path) -> None:
    with Instance.open(folder / ("long" * 30)) as instance:
        short = instance.socket_dir
        assert len(str(short / ".s.PGSQL.5432")) < 100
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
        assert json.loads((instance.path / "state.json").read_text())["socket_dir"] == str(short)
    with Instance.open(folder / ("long" * 30)) as instance:
        assert instance.socket_dir == short
    short.rmdir()


def test_planted_socket_folder_is_refused(folder: Path) -> None:
    with Instance.open(folder / ("long" * 30)) as instance:
        short = instance.socket_dir
    short.rmdir()
    short.symlink_to(folder)
    try:
        with pytest.raises(InstanceError, match="not a folder of ours"):
            Instance.open(folder / ("long" * 30))
    finally:
        short.unlink()


def test_ports_are_kept_while_free(folder: Path) -> None:
    with Instance.open(folder) as instance:
        port = instance.port("mqtt")
        assert instance.port("modbus") != port
    with Instance.open(folder) as instance:
        assert instance.port("mqtt") == port
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            assert instance.port("mqtt") != port


def test_unreadable_state_is_set_aside(folder: Path) -> None:
    for text in ("{", "[]", '{"ports": {"mqtt": "x"}, "children": {}}'):
        (folder / "state.json").write_text(text)
        with Instance.open(folder) as instance:
            assert instance.recorded_children() == {}
        assert (folder / "state.json.unreadable").read_text() == text


def test_children_are_recorded_across_opens(folder: Path) -> None:
    own = find_identity(os.getpid())
    assert own is not None
    record = ChildRecord(own, 15, 2.5)
    with Instance.open(folder) as instance:
        instance.record_child("api", record)
    with Instance.open(folder) as instance:
        assert instance.recorded_children() == {"api": record}
        instance.forget_child("api")
    with Instance.open(folder) as instance:
        assert instance.recorded_children() == {}


def test_identity_tells_processes_with_one_pid_apart() -> None:
    own = find_identity(os.getpid())
    assert own is not None
    assert is_running(own)
    assert not is_running(type(own)(own.pid, own.start_ticks - 1, own.boot_id))
    assert not is_running(type(own)(own.pid, own.start_ticks, "another boot"))
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert find_identity(ended.pid) is None, "a zombie does not run"


def test_log_is_limited_while_a_child_holds_it_open(tmp_path: Path) -> None:
    log = SizeLimitedLog(tmp_path / "x.log", bytes_max=1000)
    handle = log.open_for_child()
    os.write(handle, b"old\n" * 300)
    assert log.rotate_if_large()
    position = log.size()
    os.write(handle, b"new\n")
    os.close(handle)
    assert log.path.read_bytes() == b"new\n"
    assert log.predecessor.read_bytes() == b"old\n" * 300
    assert not log.rotate_if_large()
    assert log.tail(5, since=position) == "new"
    assert log.tail(5, since=10_000) == "new", "a position before the file was emptied"


def test_other_systems_are_told_what_to_do() -> None:
    with pytest.raises(UnsupportedPlatformError, match="WSL"):
        require_posix("win32")
    with pytest.raises(UnsupportedPlatformError, match="PLANTPRINT_MQTT_URL"):
        require_linux("broker", "PLANTPRINT_MQTT_URL", "darwin")
    require_posix("darwin")
    require_linux("broker", "PLANTPRINT_MQTT_URL", "linux")
