# ruff: noqa: E501 - the cases are tables: one line each
"""The sections of what stands on DRBD: defaults, and each wrong value said in one line that names the key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config import Config, load
from orchestrator.errors import ConfigError
from orchestrator.stack_config import CorosyncSection, SambaSection
from states.goal import Direction
from tests.unit.stack_cluster import FENCED, ONE, OTHER, PLAIN, loaded

FILE = '[filesystem.opt]\nresource = "r0"\nmount = "/opt"\nvg = "vg0"\n'
SHARE = '[share.public]\nfilesystem = "opt"\n'
SECOND = '[resource.r1]\ndisk = "/dev/ubdc"\nminor = 2\nport = 7790\n'
TEXT = f"{FENCED}\n{SECOND}"


def test_the_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, PLAIN)
    section = config.filesystem["opt"]
    assert (section.size, section.options, section.journal) == ("100%FREE", "noatime", 32)
    assert config.corosync == CorosyncSection()
    assert config.samba == SambaSection()
    assert config.share["public"].path == ""
    assert config.node[ONE].fence is None
    fence = loaded(tmp_path, FENCED).node[ONE].fence
    assert fence is not None
    assert (fence.method, fence.action, fence.timeout) == ("agent", "off", 20.0)


def test_names_of_group_and_volume_follow_the_file_systems(tmp_path: Path) -> None:
    assert loaded(tmp_path, PLAIN).volume_of("opt") == ("vg0", "opt")
    assert loaded(tmp_path, PLAIN.replace('vg = "vg0"', "")).volume_of("opt") == ("vg_opt", "opt")
    assert loaded(tmp_path, PLAIN.replace('vg = "vg0"', 'lv = "data"')).volume_of("opt") == ("vg_opt", "data")


MANUAL = f'\n[node.{OTHER}.fence]\nmethod = "manual"\n'
ONE_ONLY = FENCED.split(f"[node.{OTHER}.fence]")[0]


@pytest.mark.parametrize(("text", "fencing"), [
    (PLAIN, "none"), (FENCED, "agent"), (ONE_ONLY, "none"), (ONE_ONLY + MANUAL, "manual"),
])
def test_fencing_is_as_good_as_its_weakest_node(tmp_path: Path, text: str, fencing: str) -> None:
    config = loaded(tmp_path, text)
    assert config.fencing == fencing
    stack = config.stack()
    assert stack is not None
    assert stack.fencing == fencing
    assert (config.wanted("r0").fencing == "resource-and-stonith") == (fencing != "none")


def test_without_a_file_system_there_is_no_stack(tmp_path: Path) -> None:
    config = loaded(tmp_path, FENCED.replace(FILE, "").replace(SHARE, ""))
    assert config.stack() is None
    assert config.goal(Direction.UP).stack is None
    assert config.wanted("r0").fencing == "dont-care"
    assert not {"corosync", "dlm"} & set(config.wanted("r0").layers)


def test_with_one_a_primary_needs_the_lock_manager(tmp_path: Path) -> None:
    assert {"corosync", "dlm"} <= set(loaded(tmp_path).wanted("r0").layers)


WRONG: tuple[tuple[str, str, str], ...] = (
    # what is there          what is written instead                                   what is said
    ("[filesystem.opt]",     "[filesystem.Opt]",                                        "filesystem.Opt: a name of at most 30 small letters"),
    ("[filesystem.opt]",     f"[filesystem.{'a' * 31}]",                                f"filesystem.{'a' * 31}: a name of at most 30"),
    ('resource = "r0"',      'resource = "r9"',                                         "filesystem.opt.resource: no such resource: 'r9'; there are r0, r1"),
    ('mount = "/opt"',       'mount = "opt"',                                           "filesystem.opt.mount: an absolute path was expected, found 'opt'"),
    ('mount = "/opt"',       'mount = "/"',                                             "filesystem.opt.mount: an absolute path was expected"),
    ('mount = "/opt"',       'mount = "/srv/../etc"',                                   "filesystem.opt.mount: an absolute path was expected"),
    ('mount = "/opt"',       'mount = "/srv/a b"',                                      "filesystem.opt.mount: an absolute path was expected"),
    ('vg = "vg0"',           'vg = "a/b"',                                              "filesystem.opt.vg: 'a/b' is no name for LVM"),
    ('vg = "vg0"',           'lv = "-x"',                                               "filesystem.opt.lv: '-x' is no name for LVM"),
    ('vg = "vg0"',           'size = "big"',                                            "filesystem.opt.size: a size like 20G or 100%FREE"),
    ('vg = "vg0"',           'size = "0G"',                                             "filesystem.opt.size: a size like"),
    ('vg = "vg0"',           'size = "101%FREE"',                                       "filesystem.opt.size: a size like"),
    ('vg = "vg0"',           'options = "noatime; reboot"',                             "filesystem.opt.options: mount options like"),
    ('vg = "vg0"',           "journal = 4",                                             "filesystem.opt.journal: 8 to 1024 MiB were expected, found 4"),
    ('vg = "vg0"',           'journal = "32"',                                          "filesystem.opt.journal: expected int"),
    ('vg = "vg0"',           "inodes = 4",                                              "filesystem.opt.inodes: unknown key"),
    ('resource = "r0"\n',    "",                                                        "filesystem.opt.resource: missing"),
    (SHARE,                  SHARE + '[filesystem.two]\nresource = "r0"\nmount = "/two"\n',                "filesystem.two.resource: r0 is file system opt's already"),
    (SHARE,                  SHARE + '[filesystem.two]\nresource = "r1"\nmount = "/opt"\n',                "filesystem.two.mount: /opt is file system opt's already"),
    (SHARE,                  SHARE + '[filesystem.two]\nresource = "r1"\nmount = "/two"\nvg = "vg0"\n',    "filesystem.two.vg: vg0 is file system opt's already"),
    ('filesystem = "opt"',   'filesystem = "top"',                                      "share.public.filesystem: no such file system: 'top'; there are opt"),
    (SHARE,                  SHARE + 'path = "/etc"\n',                                 "share.public.path: a path inside the file system was expected"),
    (SHARE,                  SHARE + 'path = "a/../../etc"\n',                          "share.public.path: a path inside the file system"),
    (SHARE,                  SHARE + 'options = {"read only" = "no\\n[global]"}\n',     "share.public.options.'read only': an option of smb.conf"),
    (SHARE,                  SHARE + 'options = {"[global]" = "no"}\n',                 "share.public.options.'[global]': an option of smb.conf"),
    (SHARE,                  SHARE + 'options = {"read only" = true}\n',                "share.public.options.read"),
    ("[share.public]",       "[share.global]",                                          "share.global: the name of a share was expected"),
    ("[share.public]",       '[share."a]b"]',                                           "share.a]b: the name of a share was expected"),
    (SHARE,                  SHARE + '[samba]\nclustering = "both"\n',                  "samba.clustering: plain or ctdb or none was expected, found 'both'"),
    (SHARE,                  SHARE + '[samba]\nserve_on = ["nas9"]\n',                  "samba.serve_on: no such node: nas9"),
    (SHARE,                  SHARE + '[samba]\nsmb_conf = "smb.conf"\n',                "samba.smb_conf: an absolute path was expected"),
    (SHARE,                  SHARE + "[corosync]\ntoken = 100\n",                       "corosync.token: 300 to 60000 milliseconds were expected, found 100"),
    (SHARE,                  SHARE + "[corosync]\nport = 0\n",                          "corosync.port: a number from 1 to 65535"),
    (SHARE,                  SHARE + "[corosync]\nfence_delay = -1\n",                  "corosync.fence_delay: 0 to 60 seconds were expected, found -1"),
    (SHARE,                  SHARE + "[corosync]\nring = 1\n",                          "corosync.ring: unknown key"),
    ('agent = "fence_ipmilan"', 'agent = "ipmitool; reboot"',                           f"node.{ONE}.fence.agent: a program like fence_ipmilan was expected"),
    ('agent = "fence_ipmilan"', 'method = "agent"',                                     f"node.{ONE}.fence.agent: a program like fence_ipmilan was expected, found ''"),
    ('agent = "fence_ipmilan"', 'method = "hope"',                                      f"node.{ONE}.fence.method: agent or manual was expected, found 'hope'"),
    ('agent = "fence_ipmilan"', 'agent = "fence_ipmilan"\naction = "on"',               f"node.{ONE}.fence.action: off or reboot was expected, found 'on'"),
    ('agent = "fence_ipmilan"', 'agent = "fence_ipmilan"\ntimeout = 0',                 f"node.{ONE}.fence.timeout: 1 to 300 seconds were expected, found 0"),
    ('agent = "fence_ipmilan"', 'agent = "fence_ipmilan"\npassword = "hush-hush"',      f"node.{ONE}.fence.password: unknown key"),
    ('username = "admin"',   'username = "admin\\naction=on"',                          f"node.{ONE}.fence.options.username: a name and one line of text"),
    ('username = "admin"',   '"user name" = "admin"',                                   f"node.{ONE}.fence.options.user name: a name and one line of text"),
    ('username = "admin"',   'action = "on"',                                           f"node.{ONE}.fence.options.action: write it as node.{ONE}.fence.action"),
    ('ipport = "6231"',      "ipport = 6231",                                           f"node.{ONE}.fence.options.ipport: expected str, found int"),
)


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[f"{n}-{row[2].split(':')[0]}" for n, row in enumerate(WRONG)])
def test_what_is_wrong_is_one_line_with_file_and_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    path = tmp_path / "cluster.toml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert said in text
    assert "\n" not in text
    assert caught.value.code == 2


@pytest.mark.parametrize(("old", "new", "said"), [row for row in WRONG if "fence.timeout" in row[2] or "filesystem.opt.mount" in row[2]])
def test_a_wrong_value_ends_the_command_with_2_before_any_connection(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(TEXT.replace(old, new, 1))
    done = subprocess.run([sys.executable, "-m", "orchestrator", "-c", str(path), "plan"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def parts_that_are_good() -> list[str]:
    return [
        TEXT.replace('vg = "vg0"', 'size = "20G"\noptions = ""\njournal = 8'),
        TEXT.replace('mount = "/opt"', 'mount = "/srv/share-1.d/x"'),
        TEXT.replace(SHARE, f'{SHARE}path = "a/b"\noptions = {{"vfs objects" = "acl_xattr", "fruit:metadata" = "stream"}}\n'),
        TEXT.replace(SHARE, f'{SHARE}[samba]\nclustering = "none"\nserve_on = ["{ONE}"]\n[corosync]\nfence_delay = 0\ntoken = 5000\n'),
        TEXT.replace("[share.public]", '[share."Team 1$"]'),
        TEXT.replace('agent = "fence_ipmilan"', 'agent = "fence_ipmilan"\naction = "reboot"\ntimeout = 60', 1),
    ]


@pytest.mark.parametrize("text", parts_that_are_good())
def test_what_is_right_is_read(tmp_path: Path, text: str) -> None:
    assert isinstance(loaded(tmp_path, text), Config)
