"""Flows as text: ``tcp:203.0.113.1:40001->192.168.1.10:80``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lbsim.engine.numbers import SCTP, TCP, UDP
from lbsim.errors import LbsimError, expected_one_of
from lbsim.model.config import Address, format_endpoint, parse_endpoint

if TYPE_CHECKING:
    from lbsim.model.quotes import Quotes
    from lbsim.model.trace import BoolColumn, Flow, IntColumn, Trace

__all__ = ["FlowName", "flow_text"]

_PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
_EXAMPLE = "expected tcp:203.0.113.1:40001->192.168.1.10:80"


@dataclass(frozen=True, slots=True)
class FlowName:
    """A flow as the client sees it: protocol, client end and the end it talks to."""

    proto: int
    client: tuple[Address, int]
    server: tuple[Address, int]

    @classmethod
    def parse(cls, text: str) -> FlowName:
        """The flow that a text names.

        Raises
        ------
        LbsimError : it is none, says what is expected.
        """
        protocol, colon, ends = text.partition(":")
        client, arrow, server = ends.partition("->")
        if not colon or not arrow:
            raise LbsimError(f"{text!r} is no flow; {_EXAMPLE}")
        if protocol not in _PROTOCOLS:
            raise LbsimError(expected_one_of(protocol, list(_PROTOCOLS), "protocol"), text=text)
        try:
            return cls(_PROTOCOLS[protocol], parse_endpoint(client.strip()), parse_endpoint(server.strip()))
        except ValueError as error:
            raise LbsimError(f"{error}; {_EXAMPLE}", text=text) from None

    def __str__(self) -> str:
        name = next(name for name, number in _PROTOCOLS.items() if number == self.proto)
        return f"{name}:{format_endpoint(*self.client)}->{format_endpoint(*self.server)}"

    def packets_of(self, trace: Trace) -> IntColumn:
        """Which packets of a trace, or of one of its blocks, are this flow's or errors about it: their places in it."""
        flows, client, server = trace.flows, self._places(trace, 0), self._places(trace, 1)
        (rows,) = np.nonzero(
            (flows.proto == self.proto)
            & np.isin(flows.client, client)
            & (flows.client_port == self.client[1])
            & np.isin(flows.server, server)
            & (flows.server_port == self.server[1])
        )
        (found,) = np.nonzero(np.isin(trace["flow"], rows))
        return np.union1d(found, self._errors(trace.quotes)) if len(trace.quotes) else found

    def _errors(self, quotes: Quotes) -> IntColumn:
        """The places of the ICMP errors that quote a packet of the flow, in whichever direction."""
        about = quotes["proto"] == self.proto
        ways = [(self.client, self.server), (self.server, self.client)]
        sent = [_is_end(quotes, "src", "sport", a) & _is_end(quotes, "dst", "dport", b) for a, b in ways]
        found: IntColumn = quotes["row"][about & (sent[0] | sent[1])]
        return found

    def _places(self, trace: Trace, end: int) -> IntColumn:
        """Where the client's (0) or server's (1) address stands in a trace's table."""
        address = (self.client, self.server)[end][0]
        words = _words(address)
        table = trace.addresses
        (places,) = np.nonzero((table.family == address.version) & (table.words == words).all(axis=1))
        return places


def _words(address: Address) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    number = int(address)
    return np.array([number >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)], dtype="u4")


def _is_end(quotes: Quotes, address: str, port: str, end: tuple[Address, int]) -> BoolColumn:
    """Of which quoted packets the columns ``address`` and ``port`` are this end."""
    same = (quotes[address] == _words(end[0])).all(axis=1)
    found: BoolColumn = same & (quotes["family"] == end[0].version) & (quotes[port] == end[1])
    return found


def flow_text(trace: Trace, flow: Flow) -> str:
    """The text that names a flow of a trace."""
    name = FlowName(
        flow.proto,
        (trace.addresses[flow.client], flow.client_port),
        (trace.addresses[flow.server], flow.server_port),
    )
    return str(name) if flow.proto in _PROTOCOLS.values() else ""
