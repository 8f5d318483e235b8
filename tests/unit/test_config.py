"""cluster.toml: what is wrong is said in one line, with file and key, before any connection could be made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config import load
from orchestrator.errors import ConfigError

GOOD = """
[cluster]
name = "c"
[node.a]
address = "10.0.0.1"
[node.b]
address = "10.0.0.2"
[resource.r0]
disk = "/dev/sdb"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.toml"
    path.write_text(text)
    return path


def test_defaults_are_the_safe_ones(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    wanted = config.wanted("r0")
    assert config.names == wanted.nodes == ("a", "b")
    assert (wanted.accept_no_fencing, wanted.accept_auto_discard, wanted.skip_initial_sync) == (False, False, False)
    assert [wanted.setting(f"after-sb-{n}pri") for n in range(3)] == ["disconnect"] * 3
    assert wanted.setting("protocol") == "C"
    assert config.disk_of("r0", "b") == "/dev/sdb"
    assert config.ssh.known_hosts


NODE_B = '[node.b]\naddress = "10.0.0.2"\n'


@pytest.mark.parametrize(("old", "new", "said"), [
    ('name = "c"', 'name = "c"\ncolour = 1', "cluster.colour: unknown key"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\ndsik = 1', "resource.r0.dsik: unknown key"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\n[resource.r0.resync]\nspeed = "1M"', "resource.r0.resync.speed: unknown key"),
    ("[cluster]", "[clusters]\n[cluster]", "clusters: unknown key"),
    (NODE_B, "", "node: exactly two nodes with storage are needed (DRBD 8.4 keeps two copies), found 1"),
    ('[node.b]\naddress = "10.0.0.2"', "[node.b]\nport = 22", "node.b.address: missing"),
    ('name = "c"', "name = 3", "cluster.name: expected str, found int 3"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nprimaries = "two"', "resource.r0.primaries: expected int"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nprimaries = true', "resource.r0.primaries: expected int"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nskip_initial_sync = 1', "resource.r0.skip_initial_sync: expected bool"),
    ('name = "c"', 'name = "../c"', "cluster.name: letters, digits, _ . - were expected (it names the journal's folder), found '../c'"),
    ('name = "c"', 'name = ".."', "cluster.name: letters, digits"),
    ('name = "c"', 'name = "a/b"', "cluster.name: letters, digits"),
    ('name = "c"', 'name = ""', "cluster.name: letters, digits"),
    ("10.0.0.2", "10.0.0.1", "node.b.address: 10.0.0.1 is node a's already"),
    ('"10.0.0.2"', '"10.0.0.2"\nreplication_address = "10.1.0.1; touch /x #"', "node.b.replication_address: an IPv4 address"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nverify_alg = "md5; } handlers {"', "resource.r0.verify_alg: the name of a hash"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nminor = -1', "resource.r0.minor: a number from 0"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nport = 99999', "resource.r0.port: a number from 1"),
    ("[resource.r0]", "[resource.all]", "resource.all. a name"),
    ('address = "10.0.0.2"', 'address = "10.0.0.2"\nreplication_address = "10.0.0.1"', "node.b.replication_address: 10.0.0.1 is node a's"),
    ('disk = "/dev/sdb"', 'disks = {a = "/dev/sdb"}', "resource.r0.disks: no device for node b"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\ndisks = {c = "/dev/sdc"}', "resource.r0.disks.c: no such node"),
    ('disk = "/dev/sdb"', 'disk = "sdb"', "resource.r0.disk: 'sdb' is not a device path"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nprimaries = 3', "resource.r0.primaries: 0, 1 or 2"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nprotocol = "A"', 'resource.r0.protocol: two Primaries need "C"'),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nprotocol = "D"\nprimaries = 1', "resource.r0.protocol:"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nafter_sb_0pri = "discard-zero-changes"', "resource.r0.after_sb_0pri: "),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nafter_sb_1pri = "hope"', "resource.r0.after_sb_1pri: 'hope' is no policy"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nresync = {rate = "fast"}', "resource.r0.resync.rate: "),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\n[resource.r1]\nminor = 1\nport = 7790\ndisk = "/dev/sdb"', "resource.r1.disk: /dev/sdb on a"),
    ('disk = "/dev/sdb"', 'disk = "/dev/sdb"\n[resource.r1]\ndisk = "/dev/sdc"', "resource.r1.minor: 0 is resource r0's already"),
    ('[resource.r0]\ndisk = "/dev/sdb"', "", "resource: "),
    ("[cluster]", "[cluster", "not TOML"),
])
def test_what_is_wrong_is_one_line_with_file_and_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert said in text
    assert "\n" not in text
    assert caught.value.code == 2


def test_a_file_that_is_not_there_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*-c"):
        load(tmp_path / "none.toml")


def test_a_secret_is_not_in_what_is_printed(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD.replace('disk = "/dev/sdb"', 'disk = "/dev/sdb"\nshared_secret = "hush"')))
    assert "hush" not in repr(config)


def test_a_bad_file_ends_the_command_before_ssh_is_even_imported(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("[cluster]", "[clusters]"))
    code = ("import sys\nfrom orchestrator.cli import main\n"
            f"try: main(['-c', {str(path)!r}, 'up'])\n"
            "except SystemExit as end: print(end.code, 'asyncssh' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["2", "False"], done.stderr
    assert len(done.stderr.splitlines()) == 1


NAMES = '\n[supervise.names]\nbackend = "dns"\nname = "nas.example.org"\nzone = "example.org"\nserver = "ns.example.org"\n'


@pytest.mark.parametrize(("old", "new", "said"), [
    ('"dns"', '"dsn"', "supervise.names.backend: one of dns, exec, hosts was expected, found 'dsn'"),
    ('zone = "example.org"', "", "supervise.names.zone: the back end dns needs it"),
    ('"dns"', '"exec"', "supervise.names.command: the back end exec needs it"),
    ('"dns"', '"hosts"', "supervise.names.file: the back end hosts needs it"),
    ('"nas.example.org"', '"nas.badexample.org"', "supervise.names.name: a name in the zone example.org was expected"),
    ("[supervise.names]", "[supervise.names.addresses]\nc = []\n[supervise.names]", "supervise.names.addresses.c: no such node"),
    ("[supervise.names]", '[supervise.names.addresses]\na = ["x"]\n[supervise.names]', "a: an IP address was expected, found 'x'"),
    ("[supervise.names]", '[supervise.names.addresses]\na = ["10.0.0.2"]\n[supervise.names]', "10.0.0.2 is node a's already"),
    ('address = "10.0.0.1"', 'address = "nas1"\nreplication_address = "10.0.0.1"', "addresses.a: an IP address was expected, found 'nas1'"),
    ('server = ', 'key_name = "k"\nserver = ', "supervise.names.key_file: key_name and key_file belong together"),
    ('server = ', 'key_algorithm = "sha256"\nserver = ', "supervise.names.key_algorithm: one of hmac-sha256,"),
    ('"nas.example.org"', '"nas..example.org"', "supervise.names.name: a name of letters, digits, _, - and dots was expected"),
    ('server = ', 'key_name = "a key"\nkey_file = "k"\nserver = ', "supervise.names.key_name: a name of letters"),
    ('server = ', "timeout = 0\nserver = ", "supervise.names.timeout: a number from 0.1 to 60 was expected"),
    ('server = ', "load_high = 2.0\nserver = ", "supervise.names.load_low: above 0 and at most load_high (2.0) was expected"),
])
def test_names_that_cannot_be_meant(tmp_path: Path, old: str, new: str, said: str) -> None:
    load(written(tmp_path, GOOD + NAMES))
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(written(tmp_path, (GOOD + NAMES).replace(old, new)))
