"""Slurm of one's own."""

from __future__ import annotations

import re

from .daemons import Daemons, free_ports, until


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
