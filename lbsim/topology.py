"""Who talks to whom, as a graph: clients, the director with its virtual services, destinations.

Edges run the way a connection is opened: client -> director -> virtual service -> destination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbsim.model.aggregates import SINGLE_CLIENTS
from lbsim.model.wording import counted

if TYPE_CHECKING:
    import networkx

    from lbsim.model.config import DirectorConfig
    from lbsim.model.result import Destination, Result

__all__ = ["CLIENTS", "DIRECTOR", "SINGLE_CLIENTS", "graph"]

DIRECTOR = "director"
CLIENTS = "clients"


def graph(config: DirectorConfig, result: Result | None = None) -> networkx.DiGraph:
    """The graph of a config, with the traffic of a run on its edges.

    Nodes have ``kind`` and ``label``:

    * ``client``: one address, named by it; with more than ``SINGLE_CLIENTS`` of them all together, named ``clients``;
      ``count`` addresses
    * ``director``: one node, ``director``
    * ``service``: named ``tcp 192.168.1.10:80``, with ``scheduler`` and ``flags``
    * ``destination``: named ``10.0.0.11:80``; a real server under two services is one node with two edges

    Edges have ``packets`` and ``connections``, 0 without a result: those of clients count the packets of the
    trace, those of services and destinations are the kernel's counters, both directions together. Edges into
    destinations also have ``weight`` and ``present`` (False: removed during the run).
    """
    import networkx

    made = networkx.DiGraph()
    made.add_node(DIRECTOR, kind="director", label="director")
    for client, label, count, packets, connections in _clients(result):
        made.add_node(client, kind="client", label=label, count=count)
        made.add_edge(client, DIRECTOR, packets=packets, connections=connections)
    schedulers, dests = _configured(config)
    if result is not None:
        schedulers |= {row.service: (row.scheduler, row.flags) for row in result.final.services}
        for row in result.destinations:
            schedulers.setdefault(row.service, ("", ()))
            dests[row.service, row.dest] = _dest_edge(row)
    for service, (scheduler, flags) in schedulers.items():
        made.add_node(service, kind="service", label=service, scheduler=scheduler, flags=flags)
        made.add_edge(DIRECTOR, service, packets=0, connections=0)
    for (service, dest), edge in dests.items():
        made.add_node(dest, kind="destination", label=dest)
        made.add_edge(service, dest, **edge)
        made.edges[DIRECTOR, service]["packets"] += edge["packets"]
        made.edges[DIRECTOR, service]["connections"] += edge["connections"]
    return made


def _configured(
    config: DirectorConfig,
) -> tuple[dict[str, tuple[str, tuple[str, ...]]], dict[tuple[str, str], dict[str, int]]]:
    services = config.services()
    schedulers = {str(service.id): (service.scheduler, service.flags) for service in services}
    dests = {
        (str(service.id), str(dest.id)): {
            "packets": 0,
            "connections": 0,
            "weight": dest.weight,
            "present": True,
        }
        for service in services
        for dest in service.dests
    }
    return schedulers, dests


def _dest_edge(row: Destination) -> dict[str, int]:
    return {
        "packets": row.counters.packets,
        "connections": row.counters.connections,
        "weight": row.weight,
        "present": row.present,
    }


def _clients(result: Result | None) -> list[tuple[str, str, int, int, int]]:
    """(name, label, number of addresses, packets, connections) per client node."""
    if result is None:
        return [(CLIENTS, CLIENTS, 0, 0, 0)]
    clients = result.aggregates.clients
    if clients.single:
        return [(row.address, row.address, 1, row.packets, row.connections) for row in clients.single]
    label = counted(clients.addresses, "client") if clients.addresses else "no clients"
    return [(CLIENTS, label, clients.addresses, clients.packets, clients.connections)]
