# ruff: noqa: E501 - the cases are tables: one line each
"""What a look at a node of the original stack says of each layer; and that no half of it is ever taken for Up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import Config
from orchestrator.probes.sections import Sections
from orchestrator.probes.stack import ExpectedStack, read_stack
from orchestrator.stack.rhcs.files import files_of
from orchestrator.stack.steps import expected_stack
from states.vocabulary import Layer
from tests.unit.captures import captured
from tests.unit.rhcs.test_proc_drbd import damaged
from tests.unit.stack_cluster import OLD_STACK, ONE, loaded
from tests.unit.strategies import STEADY

L = Layer


def text_of(name: str) -> str:
    return captured(f"rhcs/{name}.txt")


def look(config: Config) -> str:
    """A look at a node on which all is up, as look.sh prints it."""
    parts = {
        "packages": "", "services": "".join(f"running {name}\n" for name in ("corosync", "fenced", "clvmd", "rgmanager", "smbd")),
        "cman": text_of("cman_tool-status") + "code 0\n", "members": "1 M \n2 M \n", "domain": text_of("fence_tool-ls") + "code 0\n",
        "clustat": text_of("clustat") + "code 0\n", "sessions": "3\n",
        "hosts": "linux-nas01 10.98.0.11      linux-nas01\nlinux-nas02 10.98.0.12      linux-nas02\n",
        "lvmconf": '    filter = [ "r|^/dev/ubdb$|" ]\n    locking_type = 3\n', "off": "", "fencing": "",
        "kernel-locks": "space clvmd ff\nspace opt ff\nspace rgmanager ff\n", **{f"at {file.path}": file.text for file in files_of(config)},
        "volume opt": "mounted gfs2 /dev/mapper/vg0-opt\nsectors 40960\nactive on drbd1\n", "end 9.00": "",
    }
    return "".join(f"\n=={name}\n{text}" for name, text in parts.items())


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, OLD_STACK)


def expected(config: Config) -> ExpectedStack:
    found = expected_stack(config, ONE)
    assert found is not None
    return found


def states(config: Config, text: str) -> dict[str, tuple[Layer, str]]:
    return {fact.name: (fact.state, fact.detail) for fact in read_stack(Sections.cut(text), expected(config))}


def test_all_is_up(config: Config) -> None:
    assert {name: state for name, (state, _) in states(config, look(config)).items()} == dict.fromkeys(expected(config).layers, L.UP)


GONE = re.compile(r"running (\w+)\n")
CASES: tuple[tuple[str, str, str, Layer, str], ...] = (
    # layer         in the look                              instead                                       is          says
    ("packages",    "==packages\n",                          "==packages\nmissing cman\n",                 L.FAILED,   "not installed: cman; yum install"),
    ("hosts",       "linux-nas02 10.98.0.12 ",               "linux-nas02 127.0.0.1 ",                     L.FAILED,   "linux-nas02 leads to 127.0.0.1 here"),
    ("hosts",       "linux-nas02 10.98.0.12      linux-nas02", "linux-nas02 ",                             L.FAILED,   "linux-nas02 leads nowhere here"),
    ("files",       "==at /etc/sysconfig/clvmd\n",           "==at /etc/sysconfig/clvmd\n\n==absent /etc/sysconfig/clvmd\n", L.DOWN, "config_version 1; missing or older"),
    ("files",       'post_join_delay="60"',                  'post_join_delay="3"',                        L.FAILED,   "config_version 1; /etc/cluster/cluster.conf: it differs"),
    ("files",       'agent="fence_ipmilan"',                 'agent="fence_manual"',                       L.FAILED,   "there is no such agent since cluster 3"),
    ("files",       'config_version="1"',                    'config_version="9"',                         L.UP,       "config_version 9; as cluster.toml says"),
    ("lvmconf",     "locking_type = 3",                      "locking_type = 1",                           L.DOWN,     "locking_type is 1; they are hidden"),
    ("lvmconf",     '"r|^/dev/ubdb$|"',                      '"a/.*/"',                                    L.DOWN,     "LVM sees the disks below DRBD"),
    ("lvmconf",     '[ "r|^/dev/ubdb$|" ]',                  '[ "r|^/dev/ubdb$|", "a/.*/" ]',              L.FAILED,   "cluster.toml wants"),
    ("cman",        "running corosync\n",                    "",                                           L.HUNG,     "left lockspaces behind"),
    ("cman",        "Quorum: 1  ",                           "Quorum: 2 Activity blocked",                 L.STARTING, "not quorate: 2 of 2 votes"),
    ("cman",        "Membership state: Cluster-Member",      "Membership state: Joining",                  L.STARTING, "no member"),
    ("cman",        "Cluster Name: NASCluster",              "Cluster Name: another",                      L.FAILED,   "member of cluster another"),
    ("cman",        "Flags: 2node ",                         "Flags: 2node DisallowedNodes ",              L.HUNG,     "disallowed"),
    ("version",     'config_version="1"',                    'config_version="5"',                         L.DOWN,     "runs config_version 4, the file has 5"),
    ("fenced",      "wait state    none",                    "wait state    quorum",                       L.STARTING, "it waits for quorum"),
    ("fenced",      "victim now    0",                       "victim now    2",                            L.HUNG,     "until node 2 is fenced"),
    ("fenced",      "members       1 2",                     "members       2 3",                          L.STARTING, "no member of the fence domain"),
    ("fenced",      "space opt ff",                          "space opt 0",                                L.HUNG,     "lockspaces stopped: opt"),
    ("clvmd",       "running clvmd\n",                       "",                                           L.DOWN,     "clvmd does not run"),
    ("clvmd",       "space clvmd ff\n",                      "",                                           L.STARTING, "no lockspace"),
    ("clvmd",       "space clvmd ff",                        "space clvmd 0",                              L.HUNG,     "stopped"),
    ("rgmanager",   "Online, Local, rgmanager",              "Online, Local",                              L.STARTING, "has not joined"),
    ("mount opt",   "space opt ff",                          "space opt 0",                                L.HUNG,     "lockspace opt is stopped"),
    ("samba",       "running smbd\n",                        "",                                           L.DOWN,     "smbd does not run"),
)  # fmt: skip


@pytest.mark.parametrize(("layer", "there", "instead", "state", "words"), CASES)
def test_what_is_otherwise(config: Config, layer: str, there: str, instead: str, state: Layer, words: str) -> None:
    text = look(config)
    assert there in text
    found = states(config, text.replace(there, instead, 1))[layer]
    assert found[0] is state, found
    assert words in found[1], found


@pytest.mark.parametrize("name", ["packages", "services", "hosts", "lvmconf", "kernel-locks", "volume opt", "at /etc/sysconfig/clvmd"])
def test_what_is_missing_is_unknown_and_not_down(config: Config, name: str) -> None:
    text = re.sub(rf"\n=={re.escape(name)}\n.*?(?=\n==)", "", look(config), flags=re.DOTALL)
    before, after = states(config, look(config)), states(config, text)
    changed = {layer: state for layer, (state, _) in after.items() if state is not before[layer][0]}
    assert changed
    assert L.DOWN not in changed.values()
    assert set(changed.values()) <= {L.UNKNOWN, L.STARTING}


@pytest.mark.parametrize("section", ["cman", "domain", "clustat"])
def test_a_tool_that_does_not_answer_is_not_down(config: Config, section: str) -> None:
    text = re.sub(rf"(\n=={section}\n).*?(?=\n==)", r"\1code 124\n", look(config), flags=re.DOTALL)
    layer = {"cman": "cman", "domain": "fenced", "clustat": "rgmanager"}[section]
    assert states(config, text)[layer][0] in (L.STARTING, L.HUNG)


def test_an_init_scripts_word_is_not_asked_for(config: Config) -> None:
    """`service NAME status` is in no script of a look."""
    from orchestrator.probes.rhcs.layers import SCRIPT

    assert "service" not in re.sub(r"#.*|\$service|SERVICES|say services|for service|\"\$service\"", "", SCRIPT)


@STEADY
@given(data=st.data())
def test_damage_never_makes_anything_up(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """With every daemon gone nothing of the cluster is Up, whatever else a look says."""
    config = loaded(tmp_path_factory.mktemp("c"), OLD_STACK)
    text = data.draw(damaged([GONE.sub("", look(config))]))
    found = states(config, text)
    for layer in ("cman", "fenced", "clvmd", "rgmanager", "samba"):
        if not any(f"running {name}" in text for name in ("corosync", "fenced", "clvmd", "rgmanager", "smbd")):
            assert found[layer][0] is not L.UP, (layer, found[layer])
