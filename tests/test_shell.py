"""What every command of both programs does when nobody reads its output, when it is interrupted, and when it fails."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from leaderboard.shell import progress_lines

CASES = next(Path(__file__).parents[1].glob("leaderboard/results/*/cases.csv"))
ENVIRONMENT = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))


@pytest.fixture
def deaf():
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def run(*arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120, "env": ENVIRONMENT} | options
    return subprocess.run([sys.executable, *arguments], text=True, check=False, **options)


def faults(done):
    """What a command said on stderr besides notes on its tables."""
    return [line for line in done.stderr.splitlines() if not line.startswith("leaderboard: note: ")]


def arguments_of(program, folder):
    if program == "leaderboard":
        return ["rank", str(CASES), "--out", str(folder / "out" / "b.csv"), "--resamples", "10"]
    return ["twin", str(folder / "out"), "--cases", "1", "--size", "32", "--jobs", "1"]


@pytest.mark.parametrize(
    "raised",
    [
        "MemoryError()",
        "ImportError('libtorch_cpu.so: failed to map segment from shared object')",
        "ImportError('libopenblas.so: cannot allocate memory in static TLS block')",
        'RuntimeError("can\'t start new thread")',
        "RuntimeError('[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can\\'t allocate memory: you tried')",
    ],
)
def test_too_little_memory_is_one_line_in_whatever_words_it_comes(raised):
    program = f"""
from leaderboard.shell import run_command
def parse():
    raise {raised}
raise SystemExit(run_command("program", parse))
"""
    done = run("-c", program)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("program: there is too little memory: ")
    assert done.stderr.count("\n") == 1


def test_another_fault_of_an_import_is_not_called_one_of_memory():
    program = "import leaderboard.shell as shell; shell.run_command('program', lambda: __import__('no_such_module'))"
    assert "no_such_module" in run("-c", program).stderr


@pytest.mark.parametrize("kilobytes", [1_200_000, 120_000])
@pytest.mark.parametrize("command", ["rank", "score"])
def test_with_little_address_space_a_command_ends_well_or_in_one_line(tmp_path, command, kilobytes):
    mask = nib.Nifti1Image(np.pad(np.ones((2, 2, 2), np.uint8), 2), np.eye(4))
    (tmp_path / "masks").mkdir()
    nib.save(mask, tmp_path / "masks" / "case_1.nii.gz")
    masks = str(tmp_path / "masks")
    given = {
        "rank": ["rank", str(CASES), "--resamples", "100"],
        "score": ["score", "--reference", masks, "--predictions", masks, "--method", "m", "--jobs", "1"],
    }[command]

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (kilobytes * 1024, kilobytes * 1024))

    done = run("-m", "leaderboard", *given, "--out", str(tmp_path / "out.csv"), preexec_fn=limit)
    assert done.returncode == (0 if (tmp_path / "out.csv").exists() else 1)
    assert "Traceback" not in done.stderr
    if kilobytes > 1_000_000:
        assert done.returncode == 0
    else:
        assert [line for line in done.stderr.splitlines() if line.startswith("leaderboard: there is too little memory")]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("program", ["leaderboard", "benchmark"])
def test_a_reader_that_leaves_changes_neither_files_nor_status(tmp_path, deaf, program):
    (tmp_path / "heard").mkdir()
    (tmp_path / "unheard").mkdir()
    heard = run("-m", program, *arguments_of(program, tmp_path / "heard"))
    assert (heard.returncode, faults(heard)) == (0, [])
    assert heard.stdout
    done = run("-m", program, *arguments_of(program, tmp_path / "unheard"), stdout=deaf)
    assert (done.returncode, faults(done)) == (0, [])
    assert contents(tmp_path / "unheard" / "out") == contents(tmp_path / "heard" / "out") != {}


@pytest.mark.parametrize("program", ["leaderboard", "benchmark"])
@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--version", 0), ("nonsense", 2)])
def test_help_and_wrong_usage_keep_their_status_when_nobody_listens(deaf, program, argument, status):
    done = run("-m", program, argument, stdout=deaf)
    assert done.returncode == status
    assert ("usage" in done.stderr) == (status == 2)
    assert "Error" not in done.stderr
    assert run("-m", program, argument, stdout=deaf, stderr=deaf).returncode == status


@pytest.mark.parametrize("program", ["leaderboard", "benchmark"])
def test_input_at_fault_keeps_its_status_when_nobody_listens(tmp_path, deaf, program):
    absent = str(tmp_path / "absent")
    arguments = (
        ["check", "--cohort", absent, "--predictions", absent] if program == "leaderboard" else ["check", absent]
    )
    assert run("-m", program, *arguments, stdout=deaf, stderr=deaf).returncode == 1
    done = run("-m", program, *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{program}: {absent}: does not exist")


CHATTY = """
import argparse, subprocess, sys
from pathlib import Path
from leaderboard.shell import run_command

def command(options):
    for number in range(20_000):
        print("a line that nobody reads", number, flush=number % 100 == 0)
        print("another", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "print('of a process', flush=True)"], check=True)
    Path(sys.argv[1]).write_text("whole")
    return int(sys.argv[2])

sys.exit(run_command("chatty", lambda: argparse.Namespace(command=command)))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("status", [0, 1])
def test_a_command_whose_reader_leaves_in_its_middle_goes_on(tmp_path, status, unbuffered):
    script = f'"$0" -c "$1" {tmp_path / "file"} {status} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, CHATTY],
        env=ENVIRONMENT | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.count("\n") == 1
    assert (tmp_path / "file").read_text() == "whole"


def test_a_command_whose_output_is_closed_from_the_start_goes_on(tmp_path):
    script = f'"$0" -c "$1" {tmp_path / "file"} 0 >&- 2>&-'
    done = subprocess.run(["bash", "-c", script, sys.executable, CHATTY], env=ENVIRONMENT, check=False, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == "whole"


def interrupted(process):
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_ctrl_c_ends_the_leaderboard_in_a_line_with_130(tmp_path):
    os.mkfifo(tmp_path / "folds.csv")
    masks = tmp_path / "masks"
    masks.mkdir()
    nib.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4)).to_filename(masks / "case_1.nii")
    arguments = ["--cohort", masks, "--predictions", masks, "--method", "m", "--out", tmp_path / "a.csv", "--folds"]
    process = subprocess.Popen(
        [sys.executable, "-m", "leaderboard", "score", *arguments, tmp_path / "folds.csv"],
        env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    writer = None
    while writer is None and process.poll() is None:
        with contextlib.suppress(OSError):  # until the command has begun to read
            writer = os.open(tmp_path / "folds.csv", os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)
    assert writer is not None, process.communicate()
    assert interrupted(process) == (130, "leaderboard: interrupted; the same command continues\n")
    os.close(writer)


def test_ctrl_c_ends_the_benchmark_in_a_line_with_130(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", "twin", tmp_path / "out", "--cases", "94", "--size", "256", "--jobs", "1"],
        env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started = time.monotonic()
    while not any(tmp_path.rglob("*.nii")) and time.monotonic() < started + 60:
        time.sleep(0.05)
    assert interrupted(process) == (130, "benchmark: interrupted: run the same command again to continue\n")


ENDED = """
import argparse, os, signal, sys, time, weakref
from pathlib import Path
from leaderboard.errors import InputError
from leaderboard.shell import run_command

number = int(sys.argv[1])

def plainly():
    os.kill(os.getpid(), number)
    time.sleep(60)

def as_a_library_does():
    try:
        plainly()
    except KeyboardInterrupt:
        sys.exit(1)

def as_an_import_does():
    try:
        plainly()
    except BaseException:
        raise ImportError("multiarray failed to import") from None

def swallowed():
    try:
        plainly()
    except BaseException:
        pass

def as_input_at_fault():
    try:
        plainly()
    finally:
        raise InputError("a process died")

def where_nothing_can_be_raised():
    class Thing:
        pass
    thing = Thing()
    watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), number))
    del thing
    time.sleep(60)

def command(options):
    try:
        globals()[sys.argv[2]]()
    finally:
        Path(sys.argv[3]).touch()

sys.exit(run_command("program", lambda: argparse.Namespace(command=command, interrupted="continue")))
"""


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGINT, "plainly"),
        (signal.SIGTERM, "plainly"),
        (signal.SIGINT, "as_a_library_does"),
        (signal.SIGTERM, "as_an_import_does"),
        (signal.SIGTERM, "swallowed"),
        (signal.SIGINT, "as_input_at_fault"),
        (signal.SIGINT, "where_nothing_can_be_raised"),
    ],
)
def test_a_signal_ends_a_command_in_a_line_whatever_is_made_of_it_and_lets_it_clean_up(tmp_path, number, how):
    done = run("-c", ENDED, str(int(number)), how, str(tmp_path / "cleaned"), timeout=50)
    assert (done.returncode, done.stderr) == (128 + number, "program: continue\n")
    assert (tmp_path / "cleaned").exists()


def test_a_signal_that_was_ignored_from_the_start_stays_ignored(tmp_path):
    number = signal.SIGINT
    code = ENDED.replace("time.sleep(60)", "pass")
    ignoring = (
        f"import os, signal, sys; signal.signal({int(number)}, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    done = run("-c", ignoring, sys.executable, "-c", code, str(int(number)), "plainly", str(tmp_path / "cleaned"))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_read_ends_the_command_in_a_line(tmp_path, number):
    (tmp_path / "pandas.py").write_text(f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(60)\n")
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])}
    done = subprocess.run(
        [sys.executable, "-m", "leaderboard", "rank", CASES, "--out", tmp_path / "out.csv"],
        env=environment, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + number, "leaderboard: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_whole_terminal_ends_all_processes_of_a_command_in_one_line(tmp_path, number):
    arguments = ["twin", tmp_path / "out", "--cases", "94", "--size", "256", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *arguments],
        env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    started = time.monotonic()
    while not any(tmp_path.rglob("*.nii")) and time.monotonic() < started + 60:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    # The pipe's end here shows that all processes have ended: each held it open.
    assert said == "benchmark: interrupted: run the same command again to continue\n"


def planted(folder, names):
    """Modules that leave a file where they are executed."""
    for name in names:
        payload = f"open({str(folder / 'executed')!r}, 'a').write({name!r})\nraise SystemExit(3)\n"
        (folder / f"{name}.py").write_text(payload)


#: Modules of the standard library and of others that our programs read, some of them in processes of theirs.
READ = ["colorsys", "argparse", "signal", "multiprocessing", "pandas", "numpy", "torch", "leaderboard", "yaml"]


@pytest.mark.parametrize("program", ["leaderboard", "benchmark"])
def test_nothing_that_lies_in_the_working_directory_is_executed(tmp_path, program):
    planted(tmp_path, [name for name in READ if name != program])
    arguments = {
        "leaderboard": ["rank", str(CASES), "--out", "b.csv", "--resamples", "10"],
        "benchmark": ["twin", "out", "--cases", "4", "--size", "32", "--jobs", "2"],  # in processes
    }[program]
    home = Path(__file__).parents[1]
    done = run("-m", program, *arguments, cwd=tmp_path, env=ENVIRONMENT | {"PYTHONPATH": str(home)})
    assert (done.returncode, faults(done)) == (0, [])
    assert not (tmp_path / "executed").exists()


def test_what_pythonpath_names_is_found_although_it_is_the_working_directory(tmp_path):
    planted(tmp_path, ["pandas"])
    places = os.pathsep.join([".", str(Path(__file__).parents[1])])
    environment = ENVIRONMENT | {"PYTHONPATH": places}
    done = run("-m", "leaderboard", "rank", str(CASES), "--out", "b.csv", cwd=tmp_path, env=environment)
    assert done.returncode == 3
    assert (tmp_path / "executed").read_text() == "pandas"


CHILD = """
import argparse, subprocess, sys
from leaderboard.shell import run_command

def command(options):
    return subprocess.run([sys.executable, "-c", "import colorsys"]).returncode

sys.exit(run_command("parent", lambda: argparse.Namespace(command=command)))
"""


def test_a_process_that_a_command_starts_executes_nothing_from_the_working_directory(tmp_path):
    planted(tmp_path, ["colorsys"])
    home = str(Path(__file__).parents[1])
    assert run("-P", "-c", CHILD, cwd=tmp_path, env=ENVIRONMENT | {"PYTHONPATH": home}).returncode == 0
    assert not (tmp_path / "executed").exists()
    assert run("-c", "import colorsys", cwd=tmp_path).returncode == 3  # the payload works
    assert (tmp_path / "executed").exists()


def test_long_work_tells_its_progress_in_lines_with_the_time_left():
    now, lines = [0.0], []
    progress = progress_lines(lines.append, clock=lambda: now[0])
    for second in range(1, 41):
        now[0] = float(second)
        progress(second, 400)
    assert lines == [
        f"{done} of 400, about {left} left" for done, left in ((11, "6 min"), (21, "6 min"), (31, "6 min"))
    ]
    now[0] = 100.0  # the next task of the same work
    progress(1, 3)
    now[0] = 120.0
    progress(2, 3)
    assert lines[-1] == "2 of 3, about 20 s left"


def test_what_came_before_the_first_call_says_nothing_about_the_time_left():
    now, lines = [0.0], []
    progress = progress_lines(lines.append, clock=lambda: now[0])
    for done, second in ((1, 100), (2, 101), (3, 112)):  # reading a large table takes 100 s
        now[0] = float(second)
        progress(done, 13)
    assert lines == ["3 of 13, about 60 s left"]


def test_short_work_tells_no_progress():
    now, lines = [0.0], []
    progress = progress_lines(lines.append, clock=lambda: now[0])
    for done in range(1, 10):
        now[0] += 1
        progress(done, 9)
    assert lines == []
