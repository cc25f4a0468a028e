"""The firewall mark of every packet of a trace, as whole columns."""

from __future__ import annotations

import numpy as np

from lbsim.config.marks import MarkRule, Marks
from lbsim.model.trace import AddressTable, BoolColumn, IntColumn, Trace

__all__ = ["Marker"]


class Marker:
    """Gives packets their marks, block after block of one traffic: which networks an address is in is looked up once.

    Attributes
    ----------
    marks : the rules.
    """

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self._targets = [np.zeros(0, dtype=bool) for _ in marks.rules]  # address of the trace -> may the rule match
        self._routed: set[int] = set()  # addresses that are known to be brought to the director by a routing rule

    def column(self, block: Trace) -> IntColumn:
        """The mark of each packet : int64[n], unsigned 32-bit; 0 if no rule matches."""
        marks = np.zeros(len(block), dtype="i8")
        if not len(block):
            return marks
        self._look_at(block.addresses)
        for rule, targets in zip(self.marks.rules, self._targets, strict=True):
            matches = targets[block["dst"]]
            if rule.protocol:
                matches &= block["proto"] == rule.protocol
            if rule.ports:
                matches &= _within(block["dport"], rule.ports)
            marks[matches] = rule.mark
        return marks

    def brought(self, block: Trace, marks: IntColumn) -> list[int]:
        """Addresses of the trace to which a routing rule brings packets with these marks; each of them once."""
        if not self.marks.routed:
            return []
        pairs = np.unique(np.stack([block["dst"].astype("i8"), marks]), axis=1).T.tolist()
        found = []
        for number, mark in pairs:
            if mark and number not in self._routed and self.marks.delivers(block.addresses[number], mark):
                self._routed.add(number)
                found.append(number)
        return found

    def _look_at(self, addresses: AddressTable) -> None:
        """Note of addresses that are new which rules may match packets to them."""
        for at, rule in enumerate(self.marks.rules):
            seen = len(self._targets[at])
            if seen < len(addresses):
                new = addresses[seen:]
                self._targets[at] = np.append(self._targets[at], _targets_of(rule, new))


def _targets_of(rule: MarkRule, addresses: AddressTable) -> BoolColumn:
    if not rule.networks:
        family: BoolColumn = addresses.family == rule.version
        return family
    found = np.zeros(len(addresses), dtype=bool)
    for network in rule.networks:
        found |= addresses.inside(network)
    return found


def _within(ports: IntColumn, ranges: tuple[tuple[int, int], ...]) -> BoolColumn:
    found = np.zeros(len(ports), dtype=bool)
    for first, last in ranges:
        found |= (first <= ports) & (ports <= last)
    return found
