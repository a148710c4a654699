"""A step of the set-up: when it counts as done, interrupted, and twice at once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT, clean_environment

from tools.setup import places, steps


@pytest.mark.parametrize("damage", ["truncated", "missing", "folder missing", "none"])
def test_a_step_knows_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A step counts as done as long as each file that it left is there in its full size."""
    monkeypatch.setattr(places, "CACHE", tmp_path)
    folder = tmp_path / "root" / "Lib"
    file = folder / "os.py"
    told: list[bool] = []

    def work(damaged: bool) -> tuple[Path, list[Path]]:
        told.append(damaged)
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text("import sys")
        return tmp_path / "root", [file]

    step = steps.Step("name", "facts", 1, work)
    assert not step.is_done()
    step.do()
    assert step.is_done()
    if damage == "truncated":
        file.write_text("import")
    elif damage == "missing":
        file.unlink()
    elif damage == "folder missing":
        shutil.rmtree(tmp_path / "root")
    assert step.is_done() == (damage == "none")
    assert not steps.Step("name", "other facts", 1, work).is_done()
    step.do()
    assert step.is_done()
    assert told == [False, True]


SLOW_STEP = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tools.setup import places, steps
file = places.CACHE / "left by the step"

def work(damaged):
    print("begun", flush=True)
    time.sleep(float(sys.argv[2]))
    file.write_text("done")
    return places.CACHE, [file]

steps.set_up([steps.Step("slow", "facts", 1, work)])
print("set up", flush=True)
"""


def slow_step(cache: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a set-up of one step that takes some time."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_STEP, str(ROOT), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=clean_environment() | {"PYIOCP_CACHE": str(cache)},
    )


def test_an_interrupted_step_is_done_again(tmp_path: Path) -> None:
    """A set-up that was killed in the middle of a step holds no lock and counts for nothing."""
    with slow_step(tmp_path, 60) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "begun\n"
        killed.kill()
    with slow_step(tmp_path, 0) as again:
        assert again.communicate() == ("begun\nset up\n", "")
    with slow_step(tmp_path, 0) as finished:
        assert finished.communicate() == ("set up\n", "")


def test_the_second_waits_and_says_so(tmp_path: Path) -> None:
    """Who comes while another sets up waits, says why, and finds the work done."""
    with slow_step(tmp_path, 1) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        with slow_step(tmp_path, 0) as second:
            expected = "run.py: waiting for another run.py that is setting up\n"
            assert second.communicate() == ("set up\n", expected)


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    """Whatever is in the record of a step that was done, the next start copes with it."""
    for text in ("", "{", "[]", '{"made_from": 1}', json.dumps({"files": {}, "root": 1})):
        (tmp_path / "done").mkdir(exist_ok=True)
        (tmp_path / "done" / "slow.json").write_text(text, encoding="utf-8")
        with slow_step(tmp_path, 0) as process:
            assert process.communicate() == ("begun\nset up\n", "")
