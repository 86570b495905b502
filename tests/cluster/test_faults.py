"""What goes wrong on real schedulers ends in a message that says it, soon; a rerun does what is missing."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Start
from .daemons import Daemons, soon, until
from .grid_engine import GridEngine
from .slurm import Slurm
from .test_jobs import begin, run, written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLED = {
    "slurm": "killed from outside by signal 9",
    "sge": "killed from outside the job: qdel, or the kernel",
}
CANCELLED = {"slurm": "cancelled from outside (scancel)", "sge": KILLED["sge"]}


def job_of(log: str) -> str:
    """The job's number, from the scheduler's answer."""
    until(lambda: Path(log).exists() and re.search(r"job(?:-array)? (\d+)", Path(log).read_text()), 60, log)
    match = re.search(r"job(?:-array)? (\d+)", Path(log).read_text())
    assert match
    return match[1]


def finish(process: subprocess.Popen[str], timeout: float = 200) -> tuple[int, str]:
    """The exit code and stderr of a runner."""
    message = process.communicate(timeout=timeout)[1]
    return process.returncode, message


def cancel(cluster: Daemons, job: str, task: str = "") -> None:
    """As another shell does it."""
    if isinstance(cluster, GridEngine):
        cluster.do("qdel", f"{job}.{task}" if task else job)
    else:
        cluster.do("scancel", f"{job}_{task}" if task else job)


@pytest.fixture(scope="module", autouse=True)
def over_its_time(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """A job over its time limit, in the background, as slurmctld takes more than a minute to notice it."""
    start(Slurm)  # it can be had
    slurm, folder = Slurm(), tmp_path_factory.mktemp("time")
    slurm.start()  # one of its own, as other tests cancel all jobs and kill daemons
    found: dict[str, object] = {}

    def watch() -> None:
        command = slurm.command("--time", "0:01", "--num-threads", "1", "x.log", "sleep", "250")
        process = subprocess.Popen(command, env=slurm.env, cwd=folder, stderr=subprocess.PIPE, text=True)
        job = ""
        while process.poll() is None:
            if not job and (folder / "q" / "x.log").exists():
                answer = re.search(r"batch job (\d+)", (folder / "q" / "x.log").read_text())
                job = answer[1] if answer else ""
            state = slurm.ask("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").stdout if job else ""
            if state.startswith("TIMEOUT"):
                found.setdefault("known", time.monotonic())
            time.sleep(0.1)
        found["ended"] = time.monotonic()
        found["code"], found["message"] = finish(process)
        found["log"] = (folder / "x.log").read_text()

    thread = threading.Thread(target=watch)
    thread.start()
    found["thread"] = thread
    yield found
    slurm.stop()
    thread.join(timeout=200)


# ---------------------------------------------------------------------------------------------------
# Tasks


def test_a_task_killed_by_sigkill(cluster: Daemons) -> None:
    """Its command, then its whole job; the others go on."""
    script = "case JOB in 1) date +%s.%N >at; kill -9 $$ ;; 2) kill -9 $PPID ;; esac"
    code, message = finish(begin(cluster, "JOB=1:4", "x.JOB.log", "bash", "-c", script))
    assert time.time() - float(Path("at").read_text()) < soon()
    assert code == 1
    name = cluster.program
    assert message.startswith(f"{name}: 2 / 4 failed, log is in x.*.log\n")
    assert f"{name}: JOB 1: code 137: killed, most likely out of memory\n" in message
    assert f"{name}: JOB 2: {KILLED[cluster.name]}" in message
    assert re.search(
        rf"# {name}: killed from outside.*\n# Finished at .* with status 137\n", Path("x.2.log").read_text()
    )
    again = run(cluster, "--pick", "failed", "JOB=1:4", "x.JOB.log", "true")
    assert (again.returncode, again.stderr) == (0, "")


def test_cancelled_while_it_runs(cluster: Daemons) -> None:
    process = begin(cluster, "x.log", "bash", "-c", "touch up; sleep 60")
    until(Path("up").exists, 60, "the job")
    start = time.monotonic()
    cancel(cluster, job_of("q/x.log"))
    code, message = finish(process)
    assert time.monotonic() - start < soon()
    assert code == 1
    assert CANCELLED[cluster.name] in message.splitlines()[0]


def test_one_task_cancelled(cluster: Daemons) -> None:
    script = "touch up.JOB; (( JOB == 1 )) && sleep 60 || sleep 3"
    process = begin(cluster, "JOB=1:3", "x.JOB.log", "bash", "-c", script)
    until(Path("up.1").exists, 60, "the task")
    cancel(cluster, job_of("q/x.log"), "1")
    code, message = finish(process)
    assert (code, message.splitlines()[0]) == (1, f"{cluster.program}: 1 / 3 failed, log is in x.*.log")
    assert f"{cluster.program}: JOB 1: {CANCELLED[cluster.name]}" in message
    assert run(cluster, "--pick", "failed", "JOB=1:3", "x.JOB.log", "echo", "again").returncode == 0
    assert [written(f"x.{number}.log") for number in (1, 2, 3)] == ["again\n", "", ""]


def test_cancelled_while_it_waits(cluster: Daemons) -> None:
    """Both schedulers' own waiting commands say 0 to this."""
    later = ("-a", "203001010000") if isinstance(cluster, GridEngine) else ("-b", "2030-01-01")
    process = begin(cluster, *later, "x.log", "true")
    job = job_of("q/x.log")
    time.sleep(2.5)  # so that it has been seen waiting
    start = time.monotonic()
    cancel(cluster, job)
    code, message = finish(process)
    assert time.monotonic() - start < soon(6)
    assert code == 1
    expected = CANCELLED["slurm"] if cluster.name == "slurm" else "deleted before it ran"
    assert message.startswith(
        f"{cluster.program}: job failed with status 143, log is in x.log ({expected})\n"
    )


def test_over_its_memory_on_slurm(slurm: Daemons) -> None:
    conf = "command sbatch --export=ALL --acctg-freq=task=1\noption mem=* --mem $0\n"
    Path("slurm.conf").write_text(conf)
    code = "import time; print(time.time(), flush=True); x = b'1' * 300_000_000; time.sleep(60)"
    result = run(slurm, "--config", "slurm.conf", "--mem", "100M", "x.log", "python3", "-c", code)
    begun = Path("x.log").read_text().partition("\n#\n")[2].split()[0]
    assert time.time() - float(begun) < soon(7)  # the allocation, and Slurm looks once a second
    assert result.returncode == 1
    assert result.stderr.startswith(
        "slurm.pl: job failed with status 137, log is in x.log (over its memory (--mem))\n"
    )


def test_over_its_memory_on_grid_engine(sge: Daemons) -> None:
    """h_vmem limits what can be had: the program itself is told so."""
    result = run(sge, "-l", "h_vmem=300M", "x.log", "python3", "-c", "x = b'1' * 600_000_000")
    assert result.returncode == 1
    assert result.stderr.startswith("queue.pl: job failed with status 1, log is in x.log (code 1)\n")
    assert "MemoryError" in result.stderr


def test_over_its_time_on_grid_engine(sge: Daemons) -> None:
    start = time.monotonic()
    result = run(sge, "--time", "0:0:2", "x.log", "sleep", "60")
    assert time.monotonic() - start < soon(10)  # it runs 2 s, and the daemon looks every few
    assert result.returncode == 1
    assert "(over a limit of time or memory (such as h_rt))" in result.stderr


# ---------------------------------------------------------------------------------------------------
# Requests


def test_error_state_of_grid_engine(sge: Daemons) -> None:
    start = time.monotonic()
    result = run(sge, "-o", "/no/such/folder/x", "x.log", "true")
    assert time.monotonic() - start < soon(10)
    assert result.returncode == 1
    assert re.search(r"\(in error state Eqw: .*can't open output file \"/no/such/folder/x\"", result.stderr)
    assert not sge.jobs()


def test_what_can_never_run(cluster: Daemons) -> None:
    start = time.monotonic()
    result = run(cluster, "--gpu", "3", "x.log", "true")
    assert time.monotonic() - start < soon(10)
    assert result.returncode == 1
    expected = "sbatch: error: Batch job submission failed: Requested node configuration is not available"
    if isinstance(cluster, GridEngine):
        expected = (
            r"job failed .*\(no queue can ever run it: Job \d+ \(.*gpu=3\) cannot run at host .* offers"
        )
    assert re.search(expected, result.stderr)
    assert not cluster.jobs()


def test_what_a_partition_never_runs(slurm: Daemons) -> None:
    start = time.monotonic()
    result = run(slurm, "--time", "2-0", "JOB=1:3", "x.JOB.log", "true")
    assert time.monotonic() - start < soon(10)
    assert result.returncode == 1
    assert "slurm.pl: JOB 1-3: it cannot run: PartitionTimeLimit\n" in result.stderr
    assert not slurm.jobs()


def test_a_refused_submission(cluster: Daemons) -> None:
    flag = "-q" if isinstance(cluster, GridEngine) else "-p"
    result = run(cluster, flag, "nowhere", "x.log", "true")
    name = cluster.program
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0] == f"{name}: Error submitting jobs to queue (return status was 1)"
    assert f"{flag} nowhere" in lines[1]
    assert any("nowhere" in line for line in lines[2:-1])
    assert lines[-1] == f"{name}: nothing was run"


def test_a_full_queue_is_waited_for(cluster: Daemons) -> None:
    everything = ("-pe", "smp", "64") if isinstance(cluster, GridEngine) else ("-c", "64")
    other = begin(cluster, *everything, "other.log", "bash", "-c", "touch up; sleep 3")
    until(Path("up").exists, 60, "the other job")
    result = run(cluster, "x.log", "true")
    assert (result.returncode, result.stderr) == (0, "")
    assert finish(other)[0] == 0
    assert Path("x.log").stat().st_mtime > Path("other.log").stat().st_mtime


def test_a_queue_that_takes_no_more_jobs(sge: Daemons) -> None:
    """Grid Engine refuses (max_u_jobs); what it says is shown."""
    settings = sge.do("qconf", "-sconf")
    folder = Path("global")
    folder.mkdir()
    for limit in (1, 0):
        (folder / "global").write_text(re.sub(r"(?m)^max_u_jobs\b.*", f"max_u_jobs {limit}", settings))
        sge.do("qconf", "-Mconf", str((folder / "global").resolve()))
        if limit:
            other = begin(sge, "other.log", "bash", "-c", "touch up; sleep 3")
            until(Path("up").exists, 60, "the other job")
            result = run(sge, "x.log", "true")
    assert finish(other)[0] == 0
    assert result.returncode == 1
    assert "only 1 jobs are allowed per user" in result.stderr
    assert result.stderr.startswith("queue.pl: Error submitting jobs to queue (return status was ")


# ---------------------------------------------------------------------------------------------------
# Stopping


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
def test_a_signal_cancels_the_job(cluster: Daemons, signum: signal.Signals) -> None:
    array = ["--max-jobs-run", 2, "JOB=1:3", "x.JOB.log", "bash", "-c", "touch up.JOB; sleep 60"]
    process = begin(cluster, *array)
    until(Path("up.2").exists, 60, "the tasks")
    job = job_of("q/x.log")
    process.send_signal(signum)
    code, message = finish(process)
    assert (code, message) == (
        2,
        f"{cluster.program}: stopped by {signum.name}; job {job} was cancelled\n",
    )
    for number in (1, 2):
        assert "with status 143\n" in Path(f"x.{number}.log").read_text()
    until(lambda: not cluster.jobs(), 10, "the end of the job")
    assert not list(Path("q/sync").iterdir())


def test_no_job_outlives_a_runner_that_is_killed(cluster: Daemons) -> None:
    process = begin(cluster, "JOB=1:2", "x.JOB.log", "bash", "-c", "touch up.JOB; sleep 60")
    until(Path("up.1").exists, 60, "the tasks")
    process.kill()
    finish(process)
    until(lambda: not cluster.jobs(), 20, "the end of the job")


# ---------------------------------------------------------------------------------------------------
# Daemons


def test_execution_daemon_killed_amid_an_array(cluster: Daemons) -> None:
    """The running task ends and is believed; the waiting ones are given up, and made when it is back."""
    array = ["--max-jobs-run", "1", "JOB=1:3", "x.JOB.log", "bash", "-c", "touch up.JOB; sleep 2; echo JOB"]
    process = begin(cluster, *array)
    until(Path("up.1").exists, 60, "the task")
    assert cluster.executor is not None
    cluster.executor.kill()
    cluster.executor.wait()
    until(lambda: known_to_be_gone(cluster), 120, "the scheduler's notice")
    start = time.monotonic()
    code, message = finish(process, timeout=200)
    assert time.monotonic() - start < soon(15)
    assert code == 1
    what = "no host that could run it answers" if cluster.name == "sge" else "no node that could run it is up"
    assert f"{cluster.program}: JOB 2-3: {what}\n" in message
    assert message.count("2 / 3 failed") == 1
    cluster.forget_jobs()
    cluster.start_executor()
    stamp = Path("x.1.log").stat().st_mtime_ns
    again = run(cluster, "--pick", "incomplete", *array)
    assert (again.returncode, again.stderr) == (0, "")
    assert Path("x.1.log").stat().st_mtime_ns == stamp
    assert [written(f"x.{number}.log") for number in (1, 2, 3)] == ["1\n", "2\n", "3\n"]


def known_to_be_gone(cluster: Daemons) -> bool:
    """Whether the scheduler says that its only node does not answer."""
    if isinstance(cluster, GridEngine):
        return bool(cluster.ask("qselect", "-qs", "u").stdout)
    return "down" in cluster.ask("sinfo", "-h", "-o", "%T").stdout


def test_master_restarted_while_jobs_wait(cluster: Daemons) -> None:
    array = ["--max-jobs-run", 1, "JOB=1:3", "x.JOB.log", "bash", "-c", "touch up.JOB; sleep 3"]
    process = begin(cluster, *array)
    until(Path("up.1").exists, 60, "the task")
    time.sleep(1.0)
    assert cluster.master is not None
    if isinstance(cluster, GridEngine):
        cluster.master.kill()  # it takes ten seconds to stop when it is asked to
    else:
        cluster.master.terminate()
    cluster.master.wait()
    time.sleep(3.0)
    cluster.start_master()
    code, message = finish(process, timeout=200)
    assert code == 0, message
    if isinstance(cluster, GridEngine):  # squeue waits for its master by itself
        assert "queue.pl: the scheduler does not answer: " in message
        assert "queue.pl: the scheduler answers again\n" in message


# ---------------------------------------------------------------------------------------------------
# A shared folder


def test_slow_shared_folder(cluster: Daemons, folder: Path) -> None:
    """The submitting machine sees what jobs write four seconds later: still the job's own end counts."""
    real, view, delay_s = folder / "work", folder / "view", 4.0
    for path in (real, view):
        path.mkdir()
    stop = threading.Event()

    def share() -> None:
        while not stop.wait(0.05):
            for path in sorted(view.rglob("*")):
                copy = real / path.relative_to(view)
                if path.is_dir():
                    copy.mkdir(exist_ok=True)
                elif not copy.exists() and path.suffix == ".sh":
                    shutil.copy2(path, copy)
            for path in sorted(real.rglob("*")):
                copy = view / path.relative_to(real)
                late = time.time() - path.stat().st_mtime > delay_s
                if path.is_file() and late and copy.parent.is_dir() and path.suffix != ".sh":
                    shutil.copy2(path, copy)

    thread = threading.Thread(target=share)
    thread.start()
    try:
        inside = f'mount --bind "{view}" "{real}" && cd "{real}" && exec "$@"'
        command = cluster.command("JOB=1:2", "x.JOB.log", "echo", "JOB")
        words = ["unshare", "-m", "bash", "-c", inside, "-", *command]
        (view / "q" / "sync").mkdir(parents=True)
        start = time.monotonic()
        done = subprocess.run(words, env=cluster.env, capture_output=True, text=True, timeout=200)
        taken = time.monotonic() - start
    finally:
        stop.set()
        thread.join()
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    assert delay_s < taken < 20
    assert "with status 0" in (view / "x.2.log").read_text()


# ---------------------------------------------------------------------------------------------------
# The slowest one, begun with the first


def test_over_its_time_on_slurm(over_its_time: dict[str, object]) -> None:
    thread = over_its_time["thread"]
    assert isinstance(thread, threading.Thread)
    thread.join(timeout=200)
    known, ended = over_its_time["known"], over_its_time["ended"]
    assert isinstance(known, float)
    assert isinstance(ended, float)
    assert ended - known < soon()
    assert over_its_time["code"] == 1
    assert "(over its time limit (--time))" in str(over_its_time["message"])
    assert "with status 143\n" in str(over_its_time["log"])
