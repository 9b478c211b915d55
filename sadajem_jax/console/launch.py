"""Whether this process is one of several that make up one run, and who says so.

Flags, or the environment in their place; else the scheduler that started it, and then JAX itself
reads from it where the first process is. A single task of an allocation is a run by itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import NamedTuple

from sadajem_jax.console.errors import UserError

FLAGS = {
    "coordinator_address": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
"""Each flag, and the variable that is read where it is not given."""

Env = Mapping[str, str]


class Launch(NamedTuple):
    """How processes come together.

    Attributes:
      cluster: what JAX reads it from ("slurm", "ompi", "k8s"), or "" where all is given.
      address: host:port of the first process; "" where JAX finds it.
      processes: how many; 0 where JAX finds that as well.
      number: of this one, from 0.
    """

    cluster: str
    address: str = ""
    processes: int = 0
    number: int = 0


def described(flags: Mapping[str, str], environment: Env) -> Launch | None:
    """The launch that flags and environment describe; None: this process is a run by itself.

    Args:
      flags: values of `FLAGS`, "" where one is not given.
      environment: of the process.

    Raises:
      UserError: names what is missing, or is no number.
    """
    given = {name: flags.get(name) or environment.get(FLAGS[name], "") for name in FLAGS}
    if any(given.values()):
        return _explicit(given)
    found = (_slurm, _open_mpi, _kubernetes)
    return next(filter(None, (look(environment) for look in found)), None)


def _explicit(given: Mapping[str, str]) -> Launch | None:
    if given["num_processes"] == "1":
        return None
    for name, value in given.items():
        if not value:
            raise UserError(
                f"--{name} is missing beside {_listed(given)}: give all of "
                f"{', '.join(f'--{flag}' for flag in FLAGS)} (or {', '.join(FLAGS.values())})"
            )
    count, number = _whole(given, "num_processes"), _whole(given, "process_id")
    host, _, port = given["coordinator_address"].rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(
            f"--coordinator_address must be HOST:PORT of the first process, found "
            f"{given['coordinator_address']!r}; for example --coordinator_address=node1:29500"
        )
    if number >= count:
        raise UserError(
            f"--process_id must be below --num_processes={count}, found {number}: they count from 0"
        )
    return Launch("", given["coordinator_address"], count, number)


def _listed(given: Mapping[str, str]) -> str:
    return ", ".join(f"--{name}={value}" for name, value in given.items() if value)


def _whole(given: Mapping[str, str], name: str) -> int:
    if not given[name].isdecimal():
        raise UserError(f"--{name} must be a whole number, found {given[name]!r}")
    return int(given[name])


def _slurm(environment: Env) -> Launch | None:
    """A step of several tasks; the shell of a batch script belongs to none."""
    if "SLURM_STEP_NODELIST" not in environment:
        return None
    return _of("slurm", environment, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")


def _open_mpi(environment: Env) -> Launch | None:
    return _of("ompi", environment, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")


def _kubernetes(environment: Env) -> Launch | None:
    """A pod of an indexed job; JAX asks the cluster, through a package that says it may."""
    index = environment.get("JOB_COMPLETION_INDEX", "")
    is_pod = "KUBERNETES_SERVICE_HOST" in environment and index.isdecimal()
    asks = is_pod and importlib.util.find_spec("kubernetes")
    return Launch("k8s", number=int(index)) if asks else None


def _of(cluster: str, environment: Env, how_many: str, which: str) -> Launch | None:
    processes, number = environment.get(how_many, ""), environment.get(which, "")
    if not (processes.isdecimal() and number.isdecimal()) or int(processes) == 1:
        return None
    return Launch(cluster, "", int(processes), int(number))
