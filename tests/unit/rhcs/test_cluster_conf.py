"""cluster.conf: what is rendered keeps the schema's rules, what breaks them is said by name, and versions only grow."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import load
from orchestrator.errors import ConfigError
from orchestrator.probes.rhcs.cluster_conf import problems, read_conf, version_of, with_version
from orchestrator.stack.rhcs.files import cluster_conf, files_of, lvm_filter
from orchestrator.stack.rhcs.steps import next_version
from states.facts import ClusterFacts, LayerFact
from states.vocabulary import Layer
from tests.unit.rhcs.test_proc_drbd import damaged
from tests.unit.stack_cluster import FENCE, OLD_STACK, ONE, OTHER, PLAIN, facts_of, loaded
from tests.unit.strategies import STEADY

BY_HAND = PLAIN.replace('name = "NASCluster"', 'name = "NASCluster"\nprofile = "rhcs"') + (
    f'\n[node.{ONE}.fence]\nmethod = "manual"\n\n[node.{OTHER}.fence]\nmethod = "manual"\n')


def test_what_is_rendered_is_xml_and_keeps_every_rule(tmp_path: Path) -> None:
    for text in (OLD_STACK, BY_HAND, OLD_STACK.replace("hush-hush", "a<b&\\\"c'")):
        made = cluster_conf(loaded(tmp_path, text), 7)
        root = ET.fromstring(made)  # noqa: S314 - ours
        assert (root.get("name"), root.get("config_version")) == ("NASCluster", "7")
        nodes = [(node.get("name"), node.get("nodeid"), node.get("votes")) for node in root.iter("clusternode")]
        assert nodes == [(ONE, "1", "1"), (OTHER, "2", "1")]
        cman = root.find("cman")
        assert cman is not None
        assert (cman.get("two_node"), cman.get("expected_votes")) == ("1", "1")
        conf = read_conf(made)
        assert conf is not None
        assert list(problems(conf)) == []


def test_options_of_an_agent_are_its_devices_attributes(tmp_path: Path) -> None:
    root = ET.fromstring(cluster_conf(loaded(tmp_path, OLD_STACK)))  # noqa: S314 - ours
    devices = {device.get("name"): device.attrib for device in root.iter("fencedevice")}
    assert devices[f"fence_{OTHER}"] == {"name": f"fence_{OTHER}", "agent": "fence_ipmilan", "ip": "10.99.0.1", "ipport": "6232",
                                         "username": "admin", "password": "hush-hush"}
    used = {device.get("name"): (device.get("action"), device.get("delay")) for device in root.iter("device")}
    assert used == {f"fence_{ONE}": ("off", "10"), f"fence_{OTHER}": ("off", None)}, "the first of the file has a head start"


def test_a_human_is_an_empty_fence(tmp_path: Path) -> None:
    made = cluster_conf(loaded(tmp_path, BY_HAND))
    assert made.count("<fence/>") == 2
    assert "<device " not in made
    assert "fence_manual" not in made


def test_a_file_with_a_password_is_not_for_everybody(tmp_path: Path) -> None:
    (secret, *_), (plain, *_) = files_of(loaded(tmp_path, OLD_STACK)), files_of(loaded(tmp_path, BY_HAND))
    assert (secret.mode, secret.secret, plain.mode, plain.secret) == ("0640", True, "0644", False)
    assert "hush" not in repr(secret)


def test_lvm_sees_everything_but_the_disks(tmp_path: Path) -> None:
    second = '\n[resource.r1]\ndisks = {linux-nas01 = "/dev/sdc", linux-nas02 = "/dev/sdd"}\nminor = 2\nport = 7790\n'
    config = loaded(tmp_path, OLD_STACK + second)
    assert lvm_filter(config, OTHER) == '[ "r|^/dev/ubdb$|", "r|^/dev/sdd$|" ]'


BROKEN: tuple[tuple[str, str, str], ...] = (
    # in place of              written                              said
    ('nodeid="2"',             'nodeid="1"',                        "two nodes have one nodeid: 1, 1"),
    ('nodeid="2"',             'nodeid="two"',                      f"node {OTHER}: nodeid 'two': a number from 1"),
    (' votes="1"',             ' votes="all"',                      f"node {ONE}: votes 'all'"),
    ('expected_votes="1"',     'expected_votes="2"',                'two_node: two nodes and expected_votes="1" were expected, found 2'),
    ('name="NASCluster"',      'name="ClusterOfTheStorage"',        "cluster name 'ClusterOfTheStorage': 1 to 15 characters"),
    ('config_version="1"',     'config_version="0"',                "config_version '0': a number from 1"),
    (f'<fencedevice name="fence_{ONE}"', '<fencedevice name="x"',   f"node {ONE}: device 'fence_{ONE}' is in no <fencedevice>"),
    ('agent="fence_ipmilan"',  'agent="fence_manual"',              "agent fence_manual: there is no such agent since cluster 3"),
)


@pytest.mark.parametrize(("good", "bad", "words"), BROKEN)
def test_what_breaks_a_rule_is_said(tmp_path: Path, good: str, bad: str, words: str) -> None:
    made = cluster_conf(loaded(tmp_path, OLD_STACK))
    assert good in made
    conf = read_conf(made.replace(good, bad, 1))
    assert conf is not None
    assert any(words in one for one in problems(conf)), list(problems(conf))


@pytest.mark.parametrize("text", ["", "<cluster", "<cluster></clusters>", "<nodes/>", '<cluster name="x"><cman></cluster>'])
def test_what_is_no_cluster_conf(text: str) -> None:
    assert read_conf(text) is None


TEXT = ('<?xml version="1.0"?>\n<cluster name="a" config_version="3">\n<!-- <cluster> -->\n<cman two_node="1" expected_votes="1"/>\n'
        '<clusternodes><clusternode name="n" nodeid="1" votes="1"><fence/></clusternode></clusternodes>\n</cluster>\n')


@STEADY
@given(st.one_of(damaged([TEXT]), st.text()))
def test_whatever_is_in_it_it_is_read_or_is_none(text: str) -> None:
    conf = read_conf(text)
    version_of(text)
    if conf is not None:
        list(problems(conf))
        assert "</cluster>" in text or "/>" in text


def test_the_version_is_all_that_changes() -> None:
    assert version_of(with_version(TEXT, 12)) == 12
    assert with_version(with_version(TEXT, 12), 3) == TEXT


# -- versions ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("one", "other", "version"), [
    ("Down: missing", "Down: missing", 1),
    ("Failed: config_version 4; differs", "Failed: config_version 4; differs", 5),
    ("Failed: config_version 4; differs", "Down: missing", 5),
    ("Up: config_version 5; as it says", "Failed: config_version 4; differs", 5),
    ("Up: config_version 5; as it says", "Down: missing", 5),
    ("Up: config_version 3; as it says", "Failed: config_version 4; differs", 5),
])  # fmt: skip
def test_what_is_written_has_the_version_of_who_has_it_already_or_the_next(tmp_path: Path, one: str, other: str, version: int) -> None:
    seen = facts_of(loaded(tmp_path, OLD_STACK))
    for name, said in ((ONE, one), (OTHER, other)):
        state, _, detail = said.partition(": ")
        seen = seen.replace(seen.node(name).with_layer(LayerFact("files", Layer(state), detail)))
    assert next_version(seen) == version


def test_a_running_cluster_is_never_told_of_an_older_file(tmp_path: Path) -> None:
    seen: ClusterFacts = facts_of(loaded(tmp_path, OLD_STACK), Layer.DOWN)
    node = seen.node(ONE)
    seen = seen.replace(evolve(node.with_layer(LayerFact("cman", Layer.UP, "quorate, config_version 8"))))
    assert next_version(seen) == 9


# -- cluster.toml ------------------------------------------------------------------------------------------------------

LONG = '''[resource.r1]
disk = "/dev/sdc"
minor = 2
port = 7790

[filesystem.a_very_long_name_x]
resource = "r1"
mount = "/x"

'''
WRONG: tuple[tuple[str, str, str], ...] = (
    ('profile = "rhcs"',        'profile = "heartbeat"',               "cluster.profile: modern or rhcs was expected, found 'heartbeat'"),
    ('name = "NASCluster"',     'name = "TheNASClusterOfUs"',          "cluster.name: cman takes 15 characters at most, found 17"),
    ("[share.public]",          LONG + "[share.public]",               "filesystem.a_very_long_name_x: GFS2 of RHEL 6 takes 16 characters"),
    ("[share.public]",          '[samba]\nclustering = "ctdb"\n[share.public]', "samba.clustering: profile rhcs sets up no ctdb"),
    ('agent = "fence_ipmilan"', 'agent = "fence_manual"',              f"node.{ONE}.fence.agent: there is no fence_manual since cluster 3"),
)


@pytest.mark.parametrize(("good", "bad", "words"), WRONG)
def test_what_the_profile_does_not_have_is_said(tmp_path: Path, good: str, bad: str, words: str) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(OLD_STACK.replace(good, bad, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert words in str(caught.value)


def test_a_third_node_that_votes_is_said(tmp_path: Path) -> None:
    third = OLD_STACK + '\n[node.linux-nas03]\naddress = "10.99.0.13"\nstorage = false\n' + FENCE.format(name="linux-nas03", port=6233)
    with pytest.raises(ConfigError, match="two_node is for two nodes"):
        loaded(tmp_path, third)
