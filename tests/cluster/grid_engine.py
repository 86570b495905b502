"""Grid Engine of one's own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from .daemons import ClusterError, Daemons, free_ports, until

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
