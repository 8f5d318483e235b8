"""The flavour `sysv`: what comes to its nodes, and that the other flavours do not change with it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from fixtures.lab import image, sysv
from fixtures.lab.config import cluster_toml
from fixtures.lab.layout import LabSpec, Layout
from fixtures.lab.seed import hosts
from orchestrator.config import load
from orchestrator.stack.rhcs.files import PROGRAMS
from states.sysv_order import RIGHT

SPEC = LabSpec(flavour="sysv")
STAND_INS = dict(sysv.stand_ins())


@pytest.mark.parametrize("place", sorted(STAND_INS))
def test_a_shell_reads_each(place: str) -> None:
    done = subprocess.run(["sh", "-n"], input=STAND_INS[place], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_scripts_have_the_numbers_of_rhel_6() -> None:
    numbers = {place.rpartition("/")[2]: found[1] for place, text in STAND_INS.items()
               if (found := re.search(r"^# chkconfig: \d+ (\d\d \d\d)$", text, re.MULTILINE))}
    assert numbers == {"lvm2-monitor": "02 99", "cman": "21 79", "clvmd": "24 76", "gfs2": "26 74", "drbd": "70 08", "smb": "91 35",
                       "rgmanager": "99 01"}
    right = {place.service: f"{place.right_start:02} {place.right_stop:02}" for place in RIGHT}
    assert {name for name in right if numbers[name] != right[name]} == {"drbd"}


def test_every_program_that_is_asked_for_is_there() -> None:
    brought = {place.rpartition("/")[2] for place in STAND_INS} | {then for then, _ in sysv.NAMES_OF_THEN}
    assert set(PROGRAMS) - brought == {"mkfs.gfs2"}, "that one is of gfs2-utils"


def test_its_cluster_toml_is_good(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text(cluster_toml(Layout(tmp_path), SPEC))
    config = load(tmp_path / "cluster.toml")
    assert (config.cluster.profile, config.volume_of("opt"), config.fencing) == ("rhcs", ("drbd_vg", "drbd_lv"), "agent")


def test_names_lead_where_cman_goes() -> None:
    assert "10.98.0.11 linux-nas01" in hosts(SPEC)
    assert "10.99.0.11 linux-nas01" in hosts(LabSpec(flavour="full"))


def test_the_image_is_one_of_its_own() -> None:
    keys = {name: image.key(one, "6.1") for name, one in image.flavours().items()}
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize(("of_today", "of_then"), [
    ("  vg0   1   1   0 wz--ns 508.00m    0 ", "  vg0   1   1   0 wz--nc 508.00m    0 "),
    ("  vg0 wz--ns dlm      1.0.0:NASCluster", "  vg0 wz--nc dlm      1.0.0:NASCluster"),
    ("wz--ns", "wz--nc"), ("vg0|wz--ns|1", "vg0|wz--nc|1"), ("vg0:r--pns", "vg0:r--pnc"), ("  vg0 wzx-as", "  vg0 wzx-ac"),
    ("  root wz--n- 10g", "  root wz--n- 10g"),  # nobody shares it
    ("  root wz--nc 10g", "  root wz--nc 10g"),
    ("  opt  vg0 -wi-a----- 508.00m", "  opt  vg0 -wi-a----- 508.00m"),  # a volume's attributes are others
])
def test_a_shared_group_is_shown_as_a_clustered_one(of_today: str, of_then: str) -> None:
    """vgs(8), vg_attr: six letters, the last of them c or s. The first two lines were printed by a real vgs."""
    script = next(text for place, text in STAND_INS.items() if "in_words_of_then()" in text)
    (words,) = re.findall(r"^in_words_of_then\(\) \{.*?^\}$", script, re.MULTILINE | re.DOTALL)
    done = subprocess.run(["sh", "-c", f"{words}\nin_words_of_then"], input=f"{of_today}\n", capture_output=True, text=True, check=True)
    assert done.stdout == f"{of_then}\n"
