"""The files of a simulated machine: what programs see, and what a power cut leaves."""

from __future__ import annotations

import errno

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fixtures.sim.files import Files

LEASE = "/var/lib/orchestrate/lease"


@pytest.fixture
def files() -> Files:
    made = Files()
    made.makedirs("/var/lib/orchestrate")
    made.sync_all()
    return made


def test_read_and_write(files: Files) -> None:
    files.write(LEASE, "1 a\n")
    files.write(LEASE, "2 b\n", append=True)
    assert files.read(LEASE) == "1 a\n2 b\n"
    assert files.read("var/lib/../lib/orchestrate/lease") == "1 a\n2 b\n"
    files.write(LEASE, "3\n")
    assert files.read(LEASE) == "3\n"


@pytest.mark.parametrize(("act", "error"), [
    (lambda files: files.read("/nope"), FileNotFoundError),
    (lambda files: files.read("/var"), IsADirectoryError),
    (lambda files: files.write("/nope/x", ""), FileNotFoundError),
    (lambda files: files.write("/var", ""), IsADirectoryError),
    (lambda files: files.mkdir("/var"), FileExistsError),
    (lambda files: files.mkdir("/nope/x"), FileNotFoundError),
    (lambda files: files.remove("/nope"), FileNotFoundError),
    (lambda files: files.remove("/var"), IsADirectoryError),
    (lambda files: files.rename("/nope", "/x"), FileNotFoundError),
    (lambda files: files.symlink("/x", "/var"), FileExistsError),
    (lambda files: files.sync("/nope"), FileNotFoundError),
    (lambda files: files.resolve("/nope/x"), FileNotFoundError),
    (lambda files: files.write("/proc/uptime", ""), PermissionError),
    (lambda files: files.read("/dev/zero"), ValueError),
])
def test_errors(files: Files, act: object, error: type[Exception]) -> None:
    files.live["/proc/uptime"] = lambda: "1.00 1.00\n"
    assert callable(act)
    with pytest.raises(error):
        act(files)


@pytest.mark.parametrize(("old", "new", "number"), [
    ("/var", "/var/lib/x", errno.EINVAL), ("/f", "/var", errno.EISDIR), ("/var", "/f", errno.ENOTDIR), ("/var", "/etc", errno.ENOTEMPTY),
    ("/f", "/run/f", errno.EXDEV),
])
def test_rename_errors(files: Files, old: str, new: str, number: int) -> None:
    files.write("/f", "")
    files.makedirs("/etc/x")
    with pytest.raises(OSError, match=rf"Errno {number}\]"):
        files.rename(old, new)


@pytest.mark.parametrize("path", ["/proc/uptime", "proc/uptime", "//proc//uptime", "/etc/../proc/./uptime", "/now"])
def test_every_way_to_write_a_path(files: Files, path: str) -> None:
    files.live["/proc/uptime"] = lambda: "1.00 1.00\n"
    files.symlink("../proc/uptime", "/now")
    assert files.read(path) == "1.00 1.00\n"
    assert files.exists(path)
    assert files.names("/proc/") == ["uptime"]


def test_links(files: Files) -> None:
    files.symlink("lib/orchestrate", "/var/here")
    files.write("/var/here/lease", "x")
    assert files.read(LEASE) == "x"
    assert files.resolve("/var/here/lease") == LEASE
    assert files.resolve("/var/here/new") == "/var/lib/orchestrate/new"
    files.symlink("/dev/null", "/etc-mask")
    assert files.is_link("/etc-mask")
    assert files.read("/etc-mask") == ""
    files.symlink("/nowhere", "/dangling")
    assert files.is_link("/dangling")
    assert not files.exists("/dangling")
    files.symlink("/loop", "/loop")
    assert not files.exists("/loop")
    files.remove("/var/here")
    assert files.read(LEASE) == "x"


def test_live_files(files: Files) -> None:
    drbd: list[str] = []
    files.live["/proc/drbd"] = lambda: drbd[0] if drbd else None
    files.live["/sys/module/drbd/version"] = lambda: drbd[0] if drbd else None
    assert not files.exists("/proc/drbd")
    assert not files.is_dir("/sys/module/drbd")
    assert files.names("/proc") == []
    drbd.append("version: 8.4.11\n")
    assert files.readable("/proc/drbd")
    assert files.read("/proc/drbd") == "version: 8.4.11\n"
    assert files.is_dir("/sys/module/drbd")
    assert files.names("/sys/module") == ["drbd"]
    del files.live["/sys/module/drbd/version"]
    assert files.names("/sys") == []
    holders = ["drbd0"]
    files.makedirs("/sys/class/block/vda3/holders")
    files.live_names["/sys/class/block/vda3/holders"] = lambda: holders
    assert files.names("/sys/class/block/vda3/holders") == ["drbd0"]
    assert files.exists("/sys/class/block/vda3/holders/drbd0")
    holders.clear()
    assert not files.exists("/sys/class/block/vda3/holders/drbd0")


def test_sinks(files: Files) -> None:
    said: list[str] = []
    files.sinks["/dev/kmsg"] = said.append
    files.write("/dev/kmsg", "hello\n")
    files.write("/dev/null", "swallowed")
    assert said == ["hello\n"]
    assert files.read("/dev/null") == ""


# -- power cuts --------------------------------------------------------------------------------------------------------

def test_nothing_synced_is_gone(files: Files) -> None:
    files.write(LEASE, "1\n")
    files.power_cut()
    assert not files.exists(LEASE)


def test_contents_without_their_entry_are_gone(files: Files) -> None:
    files.write(LEASE, "1\n")
    files.sync(LEASE)
    files.power_cut()
    assert not files.exists(LEASE)


def test_an_entry_without_its_contents_is_empty(files: Files) -> None:
    files.write(LEASE, "1\n")
    files.sync("/var/lib/orchestrate")
    files.power_cut()
    assert files.read(LEASE) == ""


def test_both_synced_is_there(files: Files) -> None:
    files.write(LEASE, "1\n")
    files.sync(LEASE, "/var/lib/orchestrate")
    files.write(LEASE, "2\n")
    files.power_cut()
    assert files.read(LEASE) == "1\n"


@pytest.mark.parametrize("synced", [False, True])
def test_rename_lasts_with_its_folder(files: Files, synced: bool) -> None:
    files.write(LEASE, "old\n")
    files.sync_all()
    files.write(LEASE + ".new", "new\n")
    files.sync(LEASE + ".new")
    files.rename(LEASE + ".new", LEASE)
    if synced:
        files.sync("/var/lib/orchestrate")
    files.power_cut()
    assert files.read(LEASE) == ("new\n" if synced else "old\n")
    assert not files.exists(LEASE + ".new")


def test_an_unsynced_removal_is_undone(files: Files) -> None:
    files.makedirs("/etc/drbd.d")
    files.write("/etc/drbd.d/r0.res", "resource")
    files.sync_all()
    files.write("/etc/drbd.d/r0.res", "changed")
    files.remove("/etc/drbd.d/r0.res")
    files.rmdir("/etc/drbd.d")
    files.power_cut()
    assert files.read("/etc/drbd.d/r0.res") == "resource"


def test_a_folder_nobody_entered_durably_is_lost_with_all_in_it(files: Files) -> None:
    """The claim of a machine that was never claimed on: its folders are new, and only the inner ones are synced."""
    files.makedirs("/var/lib/new/claims/op")
    files.write("/var/lib/new/claims/op/intent", "x\n")
    files.sync("/var/lib/new/claims/op/intent", "/var/lib/new/claims/op", "/var/lib/new/claims")
    files.power_cut()
    assert not files.exists("/var/lib/new")


def test_a_journalling_file_system_keeps_all_entries(files: Files) -> None:
    files.journal = True
    files.makedirs("/var/lib/new/claims/op")
    files.write("/var/lib/new/claims/op/intent", "x\n")
    files.write("/var/lib/new/unsynced", "y\n")
    files.sync("/var/lib/new/claims/op/intent")
    files.power_cut()
    assert files.read("/var/lib/new/claims/op/intent") == "x\n"
    assert files.read("/var/lib/new/unsynced") == ""


def test_commit_keeps_everything(files: Files) -> None:
    files.write(LEASE, "1\n")
    files.commit()
    files.power_cut()
    assert files.read(LEASE) == "1\n"


def test_run_is_emptied_and_the_hardware_stays(files: Files) -> None:
    files.write("/run/x", "")
    files.block("/dev/vda3", object())
    files.sync("/run")
    files.commit()
    files.power_cut()
    assert files.names("/run") == []
    assert files.is_block("/dev/vda3")


def test_a_full_disk_changes_nothing(files: Files) -> None:
    files.write(LEASE, "1\n")
    files.sync_all()
    files.fails = errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        files.write(LEASE, "2\n")
    with pytest.raises(OSError, match="No space left"):
        files.write(LEASE + ".new", "2\n")
    assert files.read(LEASE) == "1\n"
    assert not files.exists(LEASE + ".new")
    files.write("/run/x", "")


PATHS = st.sampled_from(["/a", "/b", "/d/a", "/d/b", "/e/a"])
FOLDERS = st.sampled_from(["/", "/d", "/e"])


class DurableModel(RuleBasedStateMachine):
    """Files against two plain dicts: numbered files, entries by path, and what of each would last. The folders last from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.files = Files()
        self.files.makedirs("/d")
        self.files.makedirs("/e")
        self.files.sync_all()
        self.entries: dict[str, int] = {}
        self.texts: dict[int, str] = {}
        self.lasting_entries: dict[str, int] = {}
        self.lasting_texts: dict[int, str] = {}

    @rule(path=PATHS, text=st.text("xyz", max_size=3), append=st.booleans())
    def write(self, path: str, text: str, append: bool) -> None:
        self.files.write(path, text, append=append)
        number = self.entries.setdefault(path, len(self.texts))
        self.texts[number] = self.texts.get(number, "") + text if append else text

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        if path in self.entries:
            self.files.remove(path)
            del self.entries[path]

    @rule(old=PATHS, new=PATHS)
    def rename(self, old: str, new: str) -> None:
        if old in self.entries and old != new:
            if self.entries.get(new) == self.entries[old]:
                return
            self.files.rename(old, new)
            self.entries[new] = self.entries.pop(old)

    @rule(path=PATHS)
    def sync_file(self, path: str) -> None:
        if path in self.entries:
            self.files.sync(path)
            self.lasting_texts[self.entries[path]] = self.texts[self.entries[path]]

    @rule(folder=FOLDERS)
    def sync_folder(self, folder: str) -> None:
        def inside(path: str) -> bool:
            return (path.rpartition("/")[0] or "/") == folder

        self.files.sync(folder)
        self.lasting_entries = {path: number for path, number in self.lasting_entries.items() if not inside(path)}
        self.lasting_entries |= {path: number for path, number in self.entries.items() if inside(path)}

    @rule()
    def commit(self) -> None:
        self.files.commit()
        self.lasting_entries = dict(self.entries)
        self.lasting_texts |= self.texts

    @rule()
    def power_cut(self) -> None:
        self.files.power_cut()
        self.entries = dict(self.lasting_entries)
        self.texts = {number: self.lasting_texts.get(number, "") for number in self.texts}
        self.lasting_texts = dict(self.texts)

    @invariant()
    def the_same(self) -> None:
        paths = [path for path in ("/a", "/b", "/d/a", "/d/b", "/e/a") if self.files.exists(path)]
        assert {path: self.files.read(path) for path in paths} == {path: self.texts[number] for path, number in self.entries.items()}


DurableModel.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestDurable = DurableModel.TestCase
