"""The shell of the simulator against the real one of this machine, and that it reads the project's own scripts."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.sim.files import Files
from fixtures.sim.machine import Ended, Machine
from fixtures.sim.shell import Shell, ShellError, ShellSyntaxError, compile_script, register_library
from orchestrator.drbd import steps
from orchestrator.probes import look
from orchestrator.probes.sections import Sections

SNIPPETS = (Path(__file__).with_name("shell_snippets.txt")).read_text().split("\n----\n")
UNKNOWN = (
    "x=`date`", "sleep 1 &", "[[ a ]]", "function f { :; }", "a=(1 2)", "cat <<<x", "echo ~", "x=~/a", "eval 'a=1'", "cd /run", "set -e",
    "echo $'a'", "echo $\"a\"", "${x:?no}", "echo ${x/a/b}", "echo ${x:1:2}", "echo ${@#x}", "echo $((x = 1))", "echo $((x++))",
    "echo $((1 ? 2 : 3))", "break", "f() { continue; }", "for i in 1; do (break); done", "break 2", "exec cat >f", "x >&", "cat <>f",
    "echo >|f", "case a in a) b ;& esac", "a |& b", "if true; fi", "fi", "echo )", "(", "{ echo", "'", "\"", "echo ${x", "echo $((1",
    "echo $(", "a && ", "| a", "cat <<E", "cat <<E\nx\n", "test() { :; }", "printf '%q' x", "printf '%05d' 1", "echo -n x", "[ a == a ]",
    "[ -t 0 ]", ". /etc/profile", "time ls", "! ! true", "select x in a; do :; done", "export x=$y", "coproc a", "trap 'echo x' EXIT",
    "command ls", "while do :; done", "for 1 in a; do :; done", "echo $!", "echo $-", "umask 022", "wait", "f() echo x", "echo a\\",
    "case [[:alpha:]] in [[:alpha:]]) ;; esac", "x=a; echo ${x#$(true)}",
)


def drive(work: Coroutine[Any, Any, int]) -> int:
    """Run what waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        code: int = end.value
        return code
    raise AssertionError("it waits")


def simulate(machine: Machine, script: str, args: tuple[str, ...] = ("sh",), stdin: str = "") -> tuple[int, str, str]:
    """Code, stdout, stderr of a script on a simulated machine."""
    process = machine.begin()
    out: list[str] = []
    err: list[str] = []
    try:
        code = drive(Shell(process, stdin, out.append, err.append).run(script, args))
    finally:
        machine.end(process)
    return code, "".join(out), "".join(err)


def really(script: str, args: tuple[str, ...] = ("sh",), stdin: str = "") -> tuple[int, str]:
    """Code and stdout of the same script in this machine's own sh."""
    done = subprocess.run(
        ("sh", "-c", script, *args), input=stdin, capture_output=True, text=True, timeout=20, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    )
    return done.returncode, done.stdout


TREE = {
    "two": "one two\nthree\n", "empty": "", "noeol": "first\n last \\line", "table": "/dev/a /mnt x y\n/dev/b  /srv\nc d e\n",
    "d/b1": "", "d/b2": "", "d/c3": "", "d/S70d": "", "d/S7x": "", "d/.hidden": "", "d/m.wants/xyz": "", "d/sp ace": "",
}
LINKS = {"link": "two", "dangling": "nowhere"}


def lay_out(real: Path, files: Files) -> None:
    """The same tree twice."""
    files.makedirs(str(real))
    for name, text in TREE.items():
        path = real / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        files.makedirs(str(path.parent))
        files.write(str(path), text)
    for name, target in LINKS.items():
        (real / name).symlink_to(target)
        files.symlink(target, str(real / name))


@pytest.fixture
def machine() -> Machine:
    return Machine("nas01")


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_as_the_real_shell(snippet: str, machine: Machine, tmp_path: Path) -> None:
    if "`" in snippet or "2 * $(echo" in snippet or '${T:+"' in snippet:
        with pytest.raises(ShellSyntaxError):
            compile_script(snippet)
        return
    lay_out(tmp_path, machine.files)
    script = f"T={tmp_path}\n{snippet}"
    code, out, _ = simulate(machine, script)
    assert (code, out) == really(script)


@pytest.mark.parametrize("script", UNKNOWN)
def test_what_it_does_not_know_is_an_error(script: str, machine: Machine) -> None:
    """When compiled or, where that depends on values, when it runs: never a guess."""
    with pytest.raises((ShellSyntaxError, ShellError)):
        simulate(machine, script)


def test_the_script_is_read_before_anything_runs(machine: Machine) -> None:
    with pytest.raises(ShellSyntaxError):
        simulate(machine, "echo a >/run/made\n[[ b ]]")
    assert not machine.files.exists("/run/made")


@pytest.mark.parametrize("stdin", ["", "one\n", "one\ntwo\nthree", " a  b \n\n"])
@pytest.mark.parametrize("script", [
    "read -r x; echo $? \"$x\"; read -r y; echo $? \"$y\"; cat", "while read -r l; do echo \"<$l>\"; done", "cat | tr a-z A-Z; cat",
    "f() { read -r x && echo $x; }; f; f; f || echo none", "read -r x </dev/null; read -r y; echo $y",
    "sh -c 'read -r x; echo $x'; read -r y; echo $y",
    "{ read -r x; } <<E\nhere\nE\nread -r y; echo $x $y", "echo $0 $1 \"$2\" $#; shift; echo $1",
])
def test_stdin_and_arguments(script: str, stdin: str, machine: Machine) -> None:
    args = ("name", "a", "b  c")
    assert simulate(machine, script, args, stdin)[:2] == really(script, args, stdin)


TEXTS = st.text("ab/. :*?[]-!\\\n", max_size=8)
PATTERNS = st.text("ab/.*?", max_size=5)
TRIMS = """printf '<%s>' "${1#$2}" "${1##$2}" "${1%$2}" "${1%%$2}" "${1#"$2"}" "${1%"$2"}" "${1#*"$2"}" "${1%%"$2"*}"
case $1 in $2) echo whole ;; "$2") echo same ;; *"$2"*) echo inside ;; esac"""
SPLITS = """IFS=$2; for x in $1; do printf '<%s>' "$x"; done; for x in a$1"b"; do printf '[%s]' "$x"; done; set -- "$1" $1; echo $#
read -r x y z <<E
$1
E
printf '{%s}' "$x" "$y" "$z" $?"""


@settings(max_examples=150, deadline=None)
@given(TEXTS, PATTERNS)
def test_patterns_as_the_real_shell(text: str, pattern: str) -> None:
    args = ("sh", text, pattern)
    assert simulate(Machine("nas01"), TRIMS, args)[:2] == really(TRIMS, args)


@settings(max_examples=150, deadline=None)
@given(st.text("ab: ,\t\n", max_size=10), st.sampled_from(["", " ", ":", ": ", ",:", " \t\n", " ,"]))
def test_fields_as_the_real_shell(text: str, ifs: str) -> None:
    args = ("sh", text, ifs)
    assert simulate(Machine("nas01"), SPLITS, args)[:2] == really(SPLITS, args)


TOKENS = "1 2 7 $1 $((3-5)) x + - * / % ( ) < >= == && || !"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TOKENS.split()), max_size=9))
def test_arithmetic_as_the_real_shell(parts: list[str]) -> None:
    script = f"x=4; echo $(( {' '.join(parts)} ))"
    args = ("sh", "12")
    expected = really(script, args)
    try:
        assert simulate(Machine("nas01"), script, args)[:2] == expected
    except ShellSyntaxError:
        assert expected[0] == 2  # no expression to dash either


# -- the project's scripts --------------------------------------------------------------------------------------------------

CALLS = "which_generation\nlease_take me 60 -\nkeep=yes\nlook r0 0 /dev/vdb 7788 0 r1 1 /dev/vdc 7789 -"


def test_the_projects_scripts_run(machine: Machine) -> None:
    code, out, err = simulate(machine, f"{look.SCRIPT}\n{steps.SCRIPT}\n{CALLS}")
    assert (code, err) == (0, "")
    sections = Sections.cut(out)
    assert sections.whole
    assert {"node", "proc-drbd", "boot", "firewall", "claims", "lease", "resource r0", "disk r1", "lease-taken 1"} <= set(sections.found)
    assert machine.files.read("/var/lib/orchestrate/lease").startswith("1 me ")
    assert machine.locks == {}
    assert machine.unknown == []


def test_libraries_are_compiled_once(machine: Machine) -> None:
    first, second = "double() { echo $(($1 * 2)); }", "say() { echo \"$*\"; }\n"
    register_library(first)
    register_library(second)
    one = compile_script(f"{first}\n{second}\nsay x")
    other = compile_script(f"{second}{first}\ndouble 3\nsay y")
    assert one.parts[0] is other.parts[1]
    assert one.parts[1] is other.parts[0]
    assert simulate(machine, f"{second}{first}\ndouble 3\nsay y")[1] == "6\ny\n"
    assert len(compile_script(first + " | cat").parts) == 1  # the library's text, but another command


# -- on a machine ------------------------------------------------------------------------------------------------------------

def test_a_lock_is_held_while_its_descriptor_is_open(machine: Machine) -> None:
    script = "exec 8>/run/lock; flock 8; {}; exec 8>&-; {}"
    probe = "sh -c 'exec 9>/run/lock; flock -n 9; echo $?'"
    code, out, _ = simulate(machine, script.format(f"{probe}; (exec 8>&-); {probe}", probe))
    assert (code, out) == (0, "1\n1\n0\n")
    assert machine.locks == {}


def test_a_full_disk_is_said_and_not_more(machine: Machine) -> None:
    """As dash with /dev/full: the command that writes fails, the ones around it do not."""
    machine.files.write("/var/log/there", "")
    machine.files.fails = errno.ENOSPC
    script = "printf x >{0}; echo $?; { printf x || echo failed >&2; true; } >{0}; echo $?; f() { echo a || return 7; }; f >{0}; echo $?"
    assert simulate(machine, script.replace("{0}", "/var/log/new"))[1] == "2\n2\n2\n"
    code, out, err = simulate(machine, script.replace(">{0}", ">>/var/log/there"))
    assert (code, out) == really(script.replace("{0}", "/dev/full")) == (0, "1\n0\n7\n")
    assert err.count("I/O error") == 3
    assert "failed" in err


def test_a_killed_shell_goes_no_further(machine: Machine) -> None:
    process = machine.begin()
    script = "for i in one two three; do : >/run/$i; true | cat; done; : >/run/end"

    async def pace(seconds: float) -> None:
        if machine.files.exists("/run/two"):
            process.kill()

    process.pace = pace
    with pytest.raises(Ended):
        drive(Shell(process).run(script))
    assert machine.files.names("/run") == ["one", "systemd", "two"]


def test_time_goes_by_in_tools_only(machine: Machine) -> None:
    spent: list[float] = []

    async def pace(seconds: float) -> None:
        spent.append(seconds)

    process = machine.begin(pace)
    out: list[str] = []
    script = "sleep 3; x=$(echo a | { read -r y; echo $y; }); timeout 5 sleep 9; code=$?; echo $x $code"
    assert drive(Shell(process, out=out.append).run(script)) == 0
    assert "".join(out) == "a 124\n"
    assert sum(spent) == pytest.approx(8 + 2 * machine.fork_cost)  # sleep's and timeout's; that of the second sleep is in the 5 s
