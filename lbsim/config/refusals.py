"""What ipvsadm, or sysctl, says when the kernel refuses a command.

Source: ipvsadm 1.31, run on Linux 6.1.192; facts: ipvsadm.md section 2. sysctl of procps 4.0.2, run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from lbsim.config.sysctls import FOLDER, TUNABLES
from lbsim.model.config import (
    AddDest,
    AddService,
    AdminCommand,
    DeleteDest,
    DeleteService,
    EditDest,
    EditService,
    SetSysctl,
    Zero,
)

__all__ = ["KERNEL_MESSAGES", "refusal"]

_IPVSADM = tuple(command for command in get_args(AdminCommand) if command is not SetSysctl)

#: What ipvsadm prints for an error number of the kernel, which depends on the command.
KERNEL_MESSAGES: Mapping[tuple[type[AdminCommand], str], str] = {
    (AddService, "EEXIST"): "Service already exists",
    (AddService, "ENOENT"): "Scheduler or persistence engine not found",
    (EditService, "ESRCH"): "No such service",
    (EditService, "ENOENT"): "Scheduler or persistence engine not found",
    (DeleteService, "ESRCH"): "No such service",
    (Zero, "ESRCH"): "No such service",
    (AddDest, "ESRCH"): "Service not defined",
    (AddDest, "EEXIST"): "Destination already exists",
    (EditDest, "ESRCH"): "Service not defined",
    (EditDest, "ENOENT"): "No such destination",
    (DeleteDest, "ESRCH"): "Service not defined",
    (DeleteDest, "ENOENT"): "No such destination",
    **{
        (command, "EINVAL"): "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        for command in _IPVSADM
    },
    **{(command, "ERANGE"): "Numerical result out of range" for command in _IPVSADM},
}

#: What sysctl prints for an error number of the kernel, about the tunable of that name.
SYSCTL_MESSAGES: Mapping[str, str] = {
    "EINVAL": f'setting key "{TUNABLES}{{}}": Invalid argument',
    "ENOENT": f"cannot stat {FOLDER}{{}}: No such file or directory",
}


def refusal(command: AdminCommand, errno: str) -> tuple[int, str]:
    """(exit status, message) of ipvsadm, or sysctl, when the kernel answers this command with this error.

    Raises
    ------
    KeyError : the kernel never answers this command so.
    """
    if isinstance(command, SetSysctl):
        return 1, f"sysctl: {SYSCTL_MESSAGES[errno].format(command.name)}"
    return 255, KERNEL_MESSAGES[type(command), errno]
