"""What the layers above DRBD read, rendered; what of it is secret; and what of a node's files may be written over unasked."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.config import Config
from orchestrator.probes.stack import of_the_package
from orchestrator.stack.files import FENCE_PATH, NodeFile, files_of, lvm_conf, programs, samba_conf
from orchestrator.stack.steps import expected_stack, words
from states.goal import Do, Step
from tests.unit.stack_cluster import CTDB, FENCED, ONE, OTHER, PLAIN, loaded

WRITTEN = "# written by orchestrate from cluster.toml"


def files(config: Config, node: str = ONE) -> dict[str, NodeFile]:
    return {file.path: file for file in files_of(config, node)}


def test_membership_is_on_the_replication_addresses_and_encrypted(tmp_path: Path) -> None:
    config = loaded(tmp_path, FENCED.replace("[share.public]", "[corosync]\ntoken = 5000\nport = 5500\n[share.public]"))
    text = files(config)["/etc/corosync/corosync.conf"].text
    assert text.startswith(WRITTEN)
    for line in ("cluster_name: NASCluster", "token: 5000", "mcastport: 5500", "crypto_cipher: aes256", "two_node: 1",
                 "provider: corosync_votequorum"):
        assert f"\t{line}\n" in text, line
    nodes = re.findall(r"name: (\S+)\n\t\tnodeid: (\d)\n\t\tring0_addr: (\S+)", text)
    assert nodes == [(ONE, "1", "10.98.0.11"), (OTHER, "2", "10.98.0.12")]
    assert text.count("{") == text.count("}")
    assert "10.99." not in text


def test_the_shared_files_are_the_same_on_every_node(tmp_path: Path) -> None:
    config = loaded(tmp_path, CTDB)
    assert files_of(config, ONE) == files_of(config, OTHER)


@pytest.mark.parametrize(("text", "says", "paths"), [
    (PLAIN, "enable_fencing=0", 0),
    (FENCED, f"enable_fencing=1\nfence_all {FENCE_PATH}", 4),
])
def test_the_lock_manager_is_told_how_to_fence(tmp_path: Path, text: str, says: str, paths: int) -> None:
    found = files(loaded(tmp_path, text))
    assert found["/etc/dlm/dlm.conf"].text == f"{WRITTEN}; `orchestrate plan` shows any difference\n{says}\n"
    assert sum("fence" in path for path in found) == paths


def test_lvm_sees_no_disk_below_drbd_and_every_other(tmp_path: Path) -> None:
    text = FENCED + '[resource.r1]\ndisks = {"%s" = "/dev/sdb", "%s" = "/dev/sdc"}\nminor = 2\nport = 7790\n' % (ONE, OTHER)  # noqa: UP031
    config = loaded(tmp_path, text)
    assert 'global_filter = [ "r|^/dev/ubdb$|", "r|^/dev/sdb$|" ]' in lvm_conf(config, ONE)
    assert '"r|^/dev/sdc$|"' in lvm_conf(config, OTHER)
    assert '"a|' not in lvm_conf(config, ONE), "one accepted name of a disk is enough to accept it"
    assert "use_lvmlockd = 1" in lvm_conf(config, ONE)


def test_shares_are_rendered_with_their_options(tmp_path: Path) -> None:
    text = CTDB.replace('filesystem = "opt"\n', 'filesystem = "opt"\npath = "team/x"\noptions = {"guest ok" = "yes"}\n')
    found = samba_conf(loaded(tmp_path, text))
    assert "[global]\n\tclustering = yes\n" in found
    assert "[public]\n\tpath = /opt/team/x\n\tread only = no\n\tguest ok = yes" in found
    plain = samba_conf(loaded(tmp_path, FENCED))
    assert "clustering" not in plain
    assert "\tpath = /opt\n" in plain


def test_there_is_no_samba_file_where_nothing_is_served(tmp_path: Path) -> None:
    assert "/etc/samba/orchestrate.conf" in files(loaded(tmp_path, CTDB))
    assert "/etc/samba/orchestrate.conf" not in files(loaded(tmp_path, CTDB.replace('"ctdb"', '"none"')))
    assert "/etc/samba/orchestrate.conf" not in files(loaded(tmp_path, FENCED.replace('[share.public]\nfilesystem = "opt"', "")))


def test_who_is_shot_how_is_one_table(tmp_path: Path) -> None:
    text = FENCED.replace("[share.public]", "[corosync]\nfence_delay = 7\n[share.public]").replace(
        f'[node.{OTHER}.fence]\nagent = "fence_ipmilan"', f'[node.{OTHER}.fence]\nagent = "fence_ipmilan"\naction = "reboot"\ntimeout = 60')
    found = files(loaded(tmp_path, text))
    table = found["/etc/orchestrate/fence/nodes"].text
    assert table == f"1 {ONE} agent fence_ipmilan off 20 7\n2 {OTHER} agent fence_ipmilan reboot 60 0\n"
    assert found[f"/etc/orchestrate/fence/{ONE}"].text == "ip=10.99.0.1\nipport=6231\nusername=admin\npassword=hush-hush\n"
    assert found[FENCE_PATH].mode == "0755"


def test_a_human_is_in_the_table_too(tmp_path: Path) -> None:
    text = FENCED.split(f"[node.{OTHER}.fence]")[0] + f'[node.{OTHER}.fence]\nmethod = "manual"\n'
    assert f"2 {OTHER} manual - off 20 0\n" in files(loaded(tmp_path, text))["/etc/orchestrate/fence/nodes"].text


def test_secrets_are_for_root_and_in_nothing_that_is_printed(tmp_path: Path) -> None:
    config = loaded(tmp_path, CTDB)
    assert "hush-hush" not in repr(config)
    secret = [file for file in files_of(config, ONE) if "hush-hush" in file.text]
    assert {file.path for file in secret} == {f"/etc/orchestrate/fence/{name}" for name in (ONE, OTHER)}
    assert all(file.secret and file.mode == "0600" for file in secret)
    assert "hush-hush" not in repr(files_of(config, ONE))
    assert "hush-hush" not in repr(expected_stack(config, ONE))


def test_the_programs_that_have_to_be_there(tmp_path: Path) -> None:
    lowest = {"corosync=corosync", "dlm_controld=dlm-controld", "lvmlockd=lvm2-lockd", "vgs=lvm2", "mkfs.gfs2=gfs2-utils"}
    assert set(programs(loaded(tmp_path, PLAIN), ONE)) == {*lowest, "smbd=samba"}
    assert set(programs(loaded(tmp_path, CTDB), ONE)) == {*lowest, "smbd=samba", "ctdbd=ctdb", "fence_ipmilan=fence-agents"}
    assert set(programs(loaded(tmp_path, PLAIN.replace('[share.public]\nfilesystem = "opt"', "")), ONE)) == lowest


DEBIANS = """\
# Please read the corosync.conf.5 manual page
totem {
	version: 2
	cluster_name: debian
	crypto_cipher: none
}
nodelist {
	node {
		name: node1
		nodeid: 1
		ring0_addr: 127.0.0.1
	}
}
"""


@pytest.mark.parametrize(("path", "text", "theirs"), [
    ("/etc/corosync/corosync.conf", DEBIANS, True),
    ("/etc/corosync/corosync.conf", DEBIANS.replace("127.0.0.1", "10.0.0.1"), False),
    ("/etc/corosync/corosync.conf", DEBIANS.replace("debian", "mine"), False),
    ("/etc/corosync/corosync.conf", "", False),
    ("/etc/lvm/lvmlocal.conf", "# This is a local configuration file\nlocal {\n\t# system_id = \"\"\n}\n", True),
    ("/etc/lvm/lvmlocal.conf", "local {\n\tsystem_id = \"x\"\n}\n", False),
    ("/etc/dlm/dlm.conf", "\n# nothing\n", True),
    ("/etc/dlm/dlm.conf", "enable_fencing=1\n", False),
])
def test_what_a_package_put_there_for_want_of_better(path: str, text: str, theirs: bool) -> None:
    assert of_the_package(path, text) == theirs


def test_no_file_of_ours_is_taken_for_a_packages(tmp_path: Path) -> None:
    for file in files_of(loaded(tmp_path, CTDB), ONE):
        assert not of_the_package(file.path, file.text), file.path


@pytest.mark.parametrize("script", ["act.sh", "fence.sh"])
def test_the_scripts_are_good_for_any_sh(script: str) -> None:
    import orchestrator.stack

    path = Path(orchestrator.stack.__file__).parent / script
    assert subprocess.run(["/bin/sh", "-n", str(path)], check=False).returncode == 0


def test_every_file_is_written_with_its_mode(tmp_path: Path) -> None:
    from orchestrator.drbd.steps import Sender
    from tests.unit.stack_cluster import facts_of

    config = loaded(tmp_path, CTDB)
    found = words(Step(Do.START_LAYER, ONE, "", "files"), Sender(config, facts_of(config), ""))
    assert found[0] == "write_files"
    written = [tuple(found[at:at + 3]) for at in range(1, len(found), 3)]
    assert written == [(file.path, file.mode, file.text) for file in files_of(config, ONE)]
