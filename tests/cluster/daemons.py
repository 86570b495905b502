"""Slurm and Grid Engine of one's own: one node, real daemons, everything below one folder.

They are Debian's packages; the daemons need root, no systemd, no cgroups, and touch neither /etc/slurm nor
/var/lib/gridengine.  A machine of two processors says it has many, so that arrays run at once.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SYSTEM = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALL = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]


class ClusterError(Exception):
    """No scheduler here, and why."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(condition: Callable[[], object], timeout_s: float, what: str) -> float:
    """Wait until it holds; the seconds that took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(0.05)
    return time.monotonic() - start


def soon(seconds: float = 5.0) -> float:
    """So many seconds, and what twenty starts of an interpreter take here now (0.4 s on an idle machine)."""
    start = time.monotonic()
    for _ in range(4):
        subprocess.run(["/usr/bin/env", "-S", "python3", "-SE", "-c", "import subprocess"], check=True)
    return seconds + 5 * (time.monotonic() - start)


class Daemons(ABC):
    """A controller and an execution daemon; `env` is what clients need."""

    name: str
    program: str  # of utils/
    packages: list[str]
    needs: list[str]  # programs

    def __init__(self) -> None:
        """Nothing runs yet.  The folder is none of pytest's, which removes its own before the daemons end."""
        self.folder = folder = Path(tempfile.mkdtemp(prefix=f"ser-{self.name}-"))
        self.host = socket.gethostname()
        self.env = {"PATH": f"{Path(sys.executable).parent}:{SYSTEM}", "LC_ALL": "C", "HOME": str(folder)}
        self.master: subprocess.Popen[bytes] | None = None
        self.executor: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> list[str]:
        """The programs that are not installed."""
        return [name for name in cls.needs if not shutil.which(name, path=f"{SYSTEM}:/usr/lib/gridengine")]

    @classmethod
    def install(cls) -> None:
        """Install the packages; root's part of CI."""
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300)
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*INSTALL, *cls.packages], check=True, env=quiet, timeout=300)

    @abstractmethod
    def start(self) -> None:
        """Configure and start both daemons; returns when jobs can be submitted."""

    @abstractmethod
    def start_master(self) -> None:
        """Start the controller (again)."""

    @abstractmethod
    def start_executor(self) -> None:
        """Start the execution daemon (again); returns when jobs can run."""

    @abstractmethod
    def end_jobs(self) -> None:
        """Cancel all jobs and wait until they are gone."""

    @abstractmethod
    def forget_jobs(self) -> None:
        """Cancel all jobs without waiting for them."""

    @abstractmethod
    def jobs(self) -> str:
        """What waits and runs, as the scheduler tells it; empty if nothing does."""

    def stop(self) -> None:
        """End the daemons and whatever of their jobs is left, and remove the folder."""
        try:
            if self.master and self.master.poll() is None:
                self.forget_jobs()
        finally:
            for daemon in (self.executor, self.master):
                if daemon and daemon.poll() is None:
                    daemon.kill()
                    daemon.wait()
            self.kill_rest()
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill_rest(self) -> None:
        """Kill the processes of jobs, which outlive their daemons."""
        mark = self.mark()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended

    @abstractmethod
    def mark(self) -> bytes:
        """A variable of the environment that all our processes have and no others."""

    def ask(self, *words: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a client."""
        return subprocess.run(
            words, env=self.env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=timeout
        )

    def do(self, *words: str) -> str:
        """Run a client that must not fail; what it says."""
        done = self.ask(*words)
        if done.returncode:
            raise ClusterError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def daemon(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a daemon that stays in the foreground."""
        with open(self.folder / "daemons.log", "ab") as log:
            return subprocess.Popen(
                words, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def command(self, *args: object) -> list[str]:
        """queue.pl or slurm.pl."""
        return [str(REPO / "utils" / self.program), *map(str, args)]


class Slurm(Daemons):
    """slurmctld and slurmd; time limits are looked at every half minute."""

    name = "slurm"
    program = "slurm.pl"
    packages = ["slurmctld", "slurmd", "slurm-client"]
    needs = ["slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol"]
    node_timeout_s = 10

    def start(self) -> None:
        """As the base says."""
        ports = free_ports(2)
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        conf = {
            "ClusterName": "test",
            "SlurmctldHost": f"{self.host}(127.0.0.1)",
            "SlurmctldPort": ports[0],
            "SlurmdPort": ports[1],
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/none",
            "CredType": "cred/none",
            "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
            "StateSaveLocation": self.folder / "state",
            "SlurmdSpoolDir": self.folder / "spool",
            "SlurmctldPidFile": self.folder / "slurmctld.pid",
            "SlurmdPidFile": self.folder / "slurmd.pid",
            "SlurmctldLogFile": self.folder / "slurmctld.log",
            "SlurmdLogFile": self.folder / "slurmd.log",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/linux",
            "JobAcctGatherFrequency": 0,  # memory is looked at where a job asks for it, as that is slow
            "JobAcctGatherParams": "OverMemoryKill",
            "MpiDefault": "none",
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_CPU_Memory",
            "DefMemPerCPU": 100,
            "EnforcePartLimits": "NO",  # what cannot run waits for ever, as where nobody has thought of it
            "ReturnToService": 2,
            "SlurmdTimeout": self.node_timeout_s,
            "KillWait": 2,
            "SlurmdParameters": "config_overrides",
            "GresTypes": "gpu",
        }
        text = "".join(f"{key}={value}\n" for key, value in conf.items())
        text += (
            f"NodeName=n1 NodeHostname={self.host} NodeAddr=127.0.0.1 CPUs=64 Boards=1 SocketsPerBoard=1 "
            "CoresPerSocket=64 ThreadsPerCore=1 RealMemory=16000 Gres=gpu:2 State=UNKNOWN\n"
            "PartitionName=debug Nodes=n1 Default=YES MaxTime=600 DefaultTime=10 State=UP\n"
        )
        (self.folder / "slurm.conf").write_text(text)
        devices = ("/dev/zero", "/dev/full")  # any devices will do where there are no GPUs
        (self.folder / "gres.conf").write_text("".join(f"Name=gpu File={file}\n" for file in devices))
        self.env["SLURM_CONF"] = str(self.folder / "slurm.conf")
        self.start_master("-c")
        self.start_executor()

    def start_master(self, *how: str) -> None:
        """As the base says."""
        self.master = self.daemon("slurmctld", "-D", *how)
        until(lambda: self.ask("squeue", "-h").returncode == 0, 30, "slurmctld")

    def start_executor(self) -> None:
        """As the base says."""
        self.executor = self.daemon("slurmd", "-D", "-N", "n1")
        until(
            lambda: re.fullmatch(r"(idle|mixed|allocated)\n", self.do("sinfo", "-h", "-o", "%T")),
            60,
            "slurmd",
        )

    def end_jobs(self) -> None:
        """As the base says."""
        if self.jobs():
            self.forget_jobs()
            until(lambda: not self.jobs(), 60, "scancel")

    def forget_jobs(self) -> None:
        """As the base says."""
        self.ask("scancel", "-u", "root")

    def jobs(self) -> str:
        """As the base says."""
        return self.ask("squeue", "-h", "-t", "PD,R,S,CF").stdout

    def mark(self) -> bytes:
        """As the base says."""
        return f"SLURM_CONF={self.folder}/slurm.conf".encode()


QUEUE = """\
qname all.q
hostlist @allhosts
seq_no 0
load_thresholds NONE
suspend_thresholds NONE
nsuspend 1
suspend_interval 00:05:00
priority 0
min_cpu_interval 00:05:00
processors UNDEFINED
qtype BATCH
ckpt_list NONE
pe_list smp
rerun FALSE
slots 64
tmpdir /tmp
shell /bin/sh
prolog NONE
epilog NONE
shell_start_mode posix_compliant
starter_method NONE
suspend_method NONE
resume_method NONE
terminate_method NONE
notify 00:00:60
owner_list NONE
user_lists NONE
xuser_lists NONE
subordinate_list NONE
complex_values NONE
projects NONE
xprojects NONE
calendar NONE
initial_state default
"""
LIMITS = "rt cpu fsize data stack core rss vmem"
ENVIRONMENT = """\
pe_name smp
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves TRUE
job_is_first_task TRUE
urgency_slots min
accounting_summary TRUE
qsort_args NONE
"""


class GridEngine(Daemons):
    """sge_qmaster and sge_execd; scheduling every second and whenever a job comes or goes."""

    name = "sge"
    program = "queue.pl"
    # dma: the smallest mailer, as gridengine-common wants one
    packages = ["gridengine-master", "gridengine-exec", "gridengine-client", "dma"]
    needs = ["sge_qmaster", "sge_execd", "qconf", "qsub", "qstat", "qdel", "spoolinit"]
    home = "/usr/lib/gridengine"
    max_unheard_s = 10

    @classmethod
    def install(cls) -> None:
        """As the base says, and no cell in /var/lib/gridengine."""
        names = ("common", "client", "exec", "master")
        lines = [f"gridengine-{name} shared/gridengineconfig boolean false\n" for name in names]
        subprocess.run(["debconf-set-selections"], input="".join(lines).encode(), check=True, timeout=60)
        super().install()

    def start(self) -> None:
        """As the base says."""
        root = self.folder / "root"
        arch = subprocess.run(
            ["/usr/share/gridengine/util/arch"], capture_output=True, text=True
        ).stdout.strip()
        common = root / "default" / "common"
        for path in (
            common,
            self.folder / "spool" / "qmaster" / "job_scripts",
            self.folder / "spool" / "execd",
        ):
            path.mkdir(parents=True)
        (self.folder / "spool" / "db").mkdir()
        (root / "util").symlink_to("/usr/share/gridengine/util")
        for name in ("bin", "lib", "utilbin"):
            (root / name).mkdir()
            (root / name / arch).symlink_to(self.home)
        ports = free_ports(2)
        self.env |= {
            "SGE_ROOT": str(root),
            "SGE_CELL": "default",
            "SGE_ARCH": arch,
            "SGE_QMASTER_PORT": str(ports[0]),
            "SGE_EXECD_PORT": str(ports[1]),
            "SGE_ND": "1",  # daemons stay in the foreground
        }
        host = self.do(f"{self.home}/gethostname", "-name").strip()
        (common / "act_qmaster").write_text(f"{host}\n")
        (common / "host_aliases").write_text(f"{host} localhost\n")  # 127.0.0.1 is localhost first
        (common / "bootstrap").write_text(
            f"admin_user root\ndefault_domain none\nignore_fqdn true\nspooling_method berkeleydb\n"
            f"spooling_lib libspoolb\nspooling_params {self.folder}/spool/db\nbinary_path {self.home}\n"
            f"qmaster_spool_dir {self.folder}/spool/qmaster\nsecurity_mode none\nlistener_threads 2\n"
            "worker_threads 2\nscheduler_threads 1\n"
        )
        self.spool_defaults()
        self.start_master()
        self.configure(host)
        self.start_executor()

    def spool_defaults(self) -> None:
        """The global configuration, complexes, user sets and managers, before the qmaster starts."""
        path = Path("/usr/share/gridengine/default-configuration")
        values = {
            "execd_spool_dir": self.folder / "spool" / "execd",
            "mailer": "/bin/true",
            "min_uid": 0,
            "min_gid": 0,
            "login_shells": "none",  # root's profile is not ours: a job killed in it may leave locks behind
            "load_report_time": "00:00:01",
            "max_unheard": f"00:00:{self.max_unheard_s:02d}",
            "reporting_params": "accounting=true reporting=false flush_time=00:00:01 "
            "accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00",
            "execd_params": "ENABLE_ADDGRP_KILL=true PDC_INTERVAL=1",
        }
        text = path.read_text()
        for key, value in values.items():
            text = re.sub(rf"^{key}\b.*", f"{key} {value}", text, flags=re.MULTILINE)
        (self.folder / "global").write_text(text)
        resources = Path("/usr/share/gridengine/util/resources")
        shutil.copytree(resources / "centry", self.folder / "centry")
        (self.folder / "centry" / "gpu").write_text(
            "name gpu\nshortcut gpu\ntype INT\nrelop <=\nrequestable YES\nconsumable YES\n"
            "default 0\nurgency 0\n"
        )
        env = self.env | {"LD_LIBRARY_PATH": self.home}
        database = [f"{self.home}/spoolinit", "berkeleydb", "libspoolb", f"{self.folder}/spool/db", "init"]
        tool = f"{self.home}/spooldefaults.bin"
        for words in (
            database,
            [tool, "configuration", f"{self.folder}/global"],
            [tool, "complexes", f"{self.folder}/centry"],
            [tool, "usersets", f"{resources}/usersets"],
            [tool, "managers", "root"],
        ):
            done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
            if done.returncode:
                raise ClusterError(f"{words}: {done.stdout}{done.stderr}")

    def configure(self, host: str) -> None:
        """The host, its group, the parallel environment, the queue, the scheduler."""
        self.ask("qconf", "-ah", host)
        self.ask("qconf", "-as", host)
        limits = "".join(f"{kind}_{name} INFINITY\n" for name in LIMITS.split() for kind in ("s", "h"))
        schedule = self.do("qconf", "-ssconf")
        for key, value in {
            "schedule_interval": "0:0:1",
            "flush_submit_sec": 1,
            "flush_finish_sec": 1,
        }.items():
            schedule = re.sub(rf"^{key}\b.*", f"{key} {value}", schedule, flags=re.MULTILINE)
        lists = "load_scaling user_lists xuser_lists projects xprojects usage_scaling report_variables"
        files = {
            "-Ae": f"hostname {host}\ncomplex_values gpu=2,slots=64,mem_free=16G\n"
            + "".join(f"{name} NONE\n" for name in lists.split()),
            "-Ahgrp": f"group_name @allhosts\nhostlist {host}\n",
            "-Ap": ENVIRONMENT,
            "-Aq": QUEUE + limits,
            "-Msconf": schedule,
        }
        for flag, text in files.items():
            path = self.folder / f"conf{flag}"
            path.write_text(text)
            self.do("qconf", flag, str(path))

    def start_master(self) -> None:
        """As the base says."""
        self.master = self.daemon(f"{self.home}/sge_qmaster")
        until(lambda: self.ask("qconf", "-sh").returncode == 0, 30, "sge_qmaster")

    def start_executor(self) -> None:
        """As the base says."""
        self.executor = self.daemon(f"{self.home}/sge_execd")
        usable = re.compile(r"^all\.q@\S+ .* lx-amd64 *$", re.MULTILINE)
        until(lambda: usable.search(self.ask("qstat", "-f").stdout), 60, "sge_execd")

    def end_jobs(self) -> None:
        """As the base says."""
        if self.jobs():
            self.ask("qdel", "-u", "root")
            until(lambda: not self.jobs(), 60, "qdel")

    def forget_jobs(self) -> None:
        """As the base says."""
        self.ask("qdel", "-f", "-u", "root")

    def jobs(self) -> str:
        """As the base says."""
        return self.ask("qstat").stdout

    def mark(self) -> bytes:
        """As the base says."""
        return f"SGE_ROOT={self.folder}/root".encode()
