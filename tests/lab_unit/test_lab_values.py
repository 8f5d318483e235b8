"""The lab's pure parts: names, sizes, sources, seeds, configuration."""

from __future__ import annotations

import io
import shlex
import tarfile
import tomllib
from pathlib import Path

import pytest

from fixtures.lab import apt, config, files, image, preflight, privilege, seed, system
from fixtures.lab.errors import LabError
from fixtures.lab.layout import LabSpec, Layout, parse_size, ubd_name
from fixtures.lab.node import Node
from fixtures.lab.state import State


@pytest.mark.parametrize(("text", "mib"), [("256M", 256), ("2G", 2048), ("512MiB", 512), ("1gb", 1024), (" 8 M ", 8)])
def test_sizes(text: str, mib: int) -> None:
    assert parse_size(text) == mib


@pytest.mark.parametrize("text", ["", "256", "0M", "-1G", "1T", "M", "1.5G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="write it like"):
        parse_size(text)


@pytest.mark.parametrize("spec", [LabSpec(nodes=0), LabSpec(nodes=17), LabSpec(disks=0), LabSpec(disks=15),
                                  LabSpec(memory=64), LabSpec(disk=1)])
def test_impossible_labs_are_refused(spec: LabSpec) -> None:
    with pytest.raises(LabError):
        spec.check()


def test_nothing_of_two_nodes_is_the_same() -> None:
    nodes = LabSpec(nodes=16).plan()
    for names in ([it.name for it in nodes], [it.address for it in nodes], [it.replication_address for it in nodes],
                  [it.bmc_port for it in nodes], [it.tap(net) for it in nodes for net in ("mgmt", "repl")],
                  [it.mac(net) for it in nodes for net in ("mgmt", "repl")]):
        assert len(set(names)) == len(names)
    assert all(len(it.tap("mgmt")) < 16 for it in nodes)        # the kernel's limit for interface names


def test_two_folders_are_two_labs(tmp_path: Path) -> None:
    assert Layout(tmp_path / "a").netns != Layout(tmp_path / "b").netns
    assert Layout(tmp_path / "a").netns == Layout(tmp_path / "b" / ".." / "a").netns


def test_devices_are_lettered() -> None:
    assert [ubd_name(unit) for unit in (0, 1, 15)] == ["/dev/ubda", "/dev/ubdb", "/dev/ubdp"]


def _lab(folder: Path, spec: LabSpec) -> Layout:
    layout = Layout(folder)
    for node in spec.plan():
        layout.node(node.name).mkdir(parents=True)
        seed.make_key(layout.node(node.name) / "host_key", node.name)
    seed.make_key(layout.key, "lab")
    return layout


def test_cluster_toml_has_two_nodes_and_a_resource_per_disk(tmp_path: Path) -> None:
    layout, spec = Layout(tmp_path / "a lab, with 'odd' name"), LabSpec(nodes=3, disks=2)
    read = tomllib.loads(config.cluster_toml(layout, spec))
    assert list(read["node"]) == ["linux-nas01", "linux-nas02"]
    assert {name: it["disk"] for name, it in read["resource"].items()} == {"r0": "/dev/ubdb", "r1": "/dev/ubdc"}
    assert read["resource"]["r0"]["resync"] == {"c_plan_ahead": 0, "rate": "400M", "max_buffers": 8000}
    assert shlex.split(read["ssh"]["proxy_command"]) == [str(layout.proxy), "%h", "%p"]


def test_known_hosts_names_the_addresses_of_cluster_toml(tmp_path: Path) -> None:
    spec = LabSpec()
    layout = _lab(tmp_path, spec)
    lines = [line.split() for line in seed.known_hosts(layout, spec).splitlines()]
    assert [line[0] for line in lines] == ["10.99.0.11", "10.99.0.12"]
    assert all(line[1] == "ssh-ed25519" and len(line) == 3 for line in lines)
    assert lines[0][2] != lines[1][2]


def test_the_seed_holds_identity_modules_and_packages(tmp_path: Path) -> None:
    module, deb = tmp_path / "my.ko", tmp_path / "drbd-utils_9.deb"
    module.write_bytes(b"module")
    deb.write_bytes(b"deb")
    spec = LabSpec(modules=(("drbd", str(module)),), debs=(str(deb),))
    layout = _lab(tmp_path / "lab", spec)
    content = seed.archive(seed.entries(layout, spec, spec.plan()[1], "6.1.1"))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = {info.name: info for info in tar}
        hostname = tar.extractfile("etc/hostname")
        assert hostname is not None
        assert hostname.read() == b"linux-nas02\n"
    assert found["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert found["root/.ssh"].mode == 0o700
    assert {"usr/lib/modules/6.1.1/updates/drbd.ko", "usr/lib/lab/debs/drbd-utils_9.deb"} <= set(found)
    assert all(info.uid == 0 for info in found.values())
    again = seed.archive(seed.entries(layout, spec, spec.plan()[1], "6.1.1"))
    assert seed.mark(again) == seed.mark(content)


def test_a_module_of_another_kernel_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "drbd.ko"
    file.write_bytes(b"\x7fELF..license=GPL\0vermagic=6.9.9 mod_unload \0")
    with pytest.raises(LabError, match=r"is for 6\.9\.9, the nodes run 6\.1\.1"):
        seed.check_module("drbd", file, "6.1.1")
    seed.check_module("drbd", file, "6.9.9")
    file.write_bytes(b"text")
    with pytest.raises(LabError, match="no kernel module at all"):
        seed.check_module("drbd", file, "6.1.1")


def test_no_argument_of_a_kernel_has_a_space_or_a_path_of_the_host(tmp_path: Path) -> None:
    layout, spec = Layout(tmp_path / "a b,c"), LabSpec(disks=2)
    node = Node(layout, spec, spec.plan()[0])
    node.folder.mkdir(parents=True)
    (node.folder / "seed.tar").write_bytes(b"seed")
    words = node.command_line()
    assert not [word for word in words if " " in word or str(tmp_path) in word]
    assert {"ubd0=cow,base.img", "ubd1=disk1.img", "ubd2=disk2.img", "ubd15r=seed.tar"} <= set(words)


def test_a_node_tells_its_boots_apart(tmp_path: Path) -> None:
    spec = LabSpec()
    node = Node(Layout(tmp_path), spec, spec.plan()[0])
    node.folder.mkdir(parents=True)
    assert (node.boots(), node.booted(), node.last_words()) == (0, False, "nothing")
    said = "Linux version 6\n[  OK  ] Reached target multi-user.target - Multi-User System.\n"
    node.console.write_text(said)
    assert (node.boots(), node.booted()) == (1, True)
    node.console.write_text(said + "reboot: Restarting system\nLinux version 6\n")
    assert (node.boots(), node.booted()) == (2, False)
    node.console.write_text("Kernel panic - not syncing: no root\nCall Trace:\n f+0x1\n")
    assert node.last_words() == "Kernel panic - not syncing: no root"


DEB822 = """\
# the release
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://other.example/docker
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
"""


def _apt(folder: Path, *, deb822: str = "", lines: str = "") -> str:
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "sources.list.d" / "debian.sources").write_text(deb822)
    (folder / "sources.list").write_text(lines)
    return apt.sources(folder)


def test_deb822_sources_keep_debian_only(tmp_path: Path) -> None:
    found = _apt(tmp_path, deb822=DEB822)
    assert "Suites: bookworm bookworm-updates\n" in found
    assert "mirror.example" in found
    assert "Signed-By: /usr/share" in found
    assert "docker" not in found
    assert "disabled" not in found


def test_one_line_sources(tmp_path: Path) -> None:
    found = _apt(tmp_path, lines="deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main # x\n"
                                 "# deb http://off.example/debian bookworm main\n"
                                 "deb-src http://src.example/debian bookworm main\n")
    assert "URIs: http://mirror.example/debian" in found
    assert "Signed-By: /k.gpg" in found
    assert "off.example" not in found
    assert "src.example" not in found


@pytest.mark.parametrize("lines", ["", "deb http://mirror.example/ubuntu noble main\n",
                                   "deb http://mirror.example/debian bookworm-updates main\n"])
def test_another_release_uses_the_public_servers(tmp_path: Path, lines: str) -> None:
    assert _apt(tmp_path, lines=lines) == apt.PUBLIC


def test_every_flavour_can_boot_and_run_drbd() -> None:
    for flavour in image.flavours().values():
        assert {"udev", "openssh-server", "iproute2", "drbd-utils", "lvm2"} <= set(flavour.packages)
        assert {"systemd-sysv", "sysvinit-core"} & set(flavour.packages)  # /sbin/init is one of the two
        assert flavour.size.endswith("M")
    with pytest.raises(LabError, match="there are drbd, full"):
        image.flavour("none")


def test_the_image_key_follows_its_content() -> None:
    drbd, full = image.flavour("drbd"), image.flavour("full")
    keys = {image.key(drbd, "6.1.1"), image.key(full, "6.1.1"), image.key(drbd, "6.1.2")}
    assert len(keys) == 3
    assert image.key(drbd, "6.1.1") in keys


def test_drbd_and_lvm_are_never_masked() -> None:
    masked = [*image.masked_units(), *(unit for it in image.flavours().values() for unit in it.masked)]
    assert not [unit for unit in masked if "drbd" in unit or "lvm" in unit]


def test_memory_goes_where_there_is_room(tmp_path: Path) -> None:
    place, problem = preflight.memory_folder(LabSpec(memory=128), (tmp_path / "missing", tmp_path))
    assert (place, problem) == (tmp_path, None)
    _, problem = preflight.memory_folder(LabSpec(nodes=16, memory=1 << 40), (tmp_path,))
    assert problem is not None
    assert "MiB free" in problem
    assert "TMPDIR" in problem


def test_the_state_survives_writing_and_reading(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert State.load(layout) is None
    state = State(LabSpec(nodes=3, modules=(("drbd", "/x.ko"),), debs=("/y.deb",)), "/base.img", "/dev/shm", "6.1.1")
    state.save(layout)
    assert State.load(layout) == state
    layout.state.write_text('{"spec": 1}')
    with pytest.raises(LabError, match="lab down"):
        State.load(layout)


def test_a_changed_configuration_survives_down(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.config.write_text("a")
    (tmp_path / "config.orig").write_text("a")
    files.remove(layout)
    assert not layout.config.exists()
    layout.config.write_text("mine")
    (tmp_path / "config.orig").write_text("a")
    files.remove(layout)
    assert layout.config.read_text() == "mine"


def test_the_owner_is_the_one_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "5678")
    monkeypatch.setattr(privilege, "is_root", lambda: True)
    assert privilege.owner() == (1234, 5678)


def test_a_failed_command_is_one_sentence_with_its_last_words() -> None:
    with pytest.raises(LabError, match="ended with 3: last"):
        system.run(["sh", "-c", "echo first >&2; echo last >&2; exit 3"])
    with pytest.raises(LabError, match="is not installed"):
        system.run(["no-such-program-here"])
