"""What ipvsadm and /proc print, byte for byte: pure functions from rows (:mod:`lbsim.model.listing`) to text.

* ``table``        ``ipvsadm -Ln`` and its views
* ``connections``  ``ipvsadm -Lnc``
* ``proc``         /proc/net/ip_vs, ip_vs_conn, ip_vs_conn_sync, ip_vs_stats, ip_vs_stats_percpu

Everything is printed as with ``-n``: no name is looked up.
"""

from __future__ import annotations

from lbsim.listing.connections import connection_list
from lbsim.listing.proc import proc_conns, proc_conns_sync, proc_services, proc_stats, proc_stats_percpu
from lbsim.listing.table import table, timeouts

__all__ = [
    "VERSION",
    "connection_list",
    "proc_conns",
    "proc_conns_sync",
    "proc_services",
    "proc_stats",
    "proc_stats_percpu",
    "table",
    "timeouts",
]

#: What ``ipvsadm -v`` prints.
VERSION = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n"
