"""The numbers that rows of the engine's tables hold, and who reads and makes packets shares with it.

Kernel counterparts: include/uapi/linux/in.h, include/uapi/linux/ip_vs.h, include/net/ip_vs.h.
"""

from __future__ import annotations

# Protocols
IP_ANY = 0  # of templates of services by firewall mark
ICMP = 1
TCP = 6
UDP = 17
ESP = 50
AH = 51
SCTP = 132

# Directions of a packet, as a trace gives them
IN = 0  # from a client
OUT = 1  # from the real server that src and sport name
REPLY = 2  # from whichever destination got the flow's last IN packet
OWN = 3  # from a program on the director itself

# Shapes of a packet: how much of the transport header there is
WHOLE = 0  # all of it
CUT_HEADER = 1  # the ports can be read, but the header is not complete
NO_PORTS = 2  # not even the ports
FRAGMENT = 3  # part of a fragmented datagram
ICMP_ERROR = 4  # an ICMP error about another packet
BAD_IP_HEADER = 5  # not a valid IP packet: the IP layer drops it
BAD_OPTIONS = 6  # IPv4 options that cannot be read: the IP layer answers with parameter problem
SOURCE_ROUTE = 7  # IPv4 options that tell the way: the IP layer drops it

# TCP flags
FIN = 1
SYN = 2
RST = 4
ACK = 16

# Scheduler flags of a service (values of the kernel's SCHED1, SCHED2, SCHED3)
SCHED_1 = 8
SCHED_2 = 16
SCHED_3 = 32
SH_FALLBACK = SCHED_1
SH_PORT = SCHED_2
MH_FALLBACK = SCHED_1
MH_PORT = SCHED_2

# Forwarding methods (the kernel's numbers)
MASQ = 0
LOCAL_NODE = 1
TUNNEL = 2
DROUTE = 3
BYPASS = 4

# Tunnel types (the kernel's numbers) and flags
IPIP = 0
GUE = 1
GRE = 2
TUN_CSUM = 1
TUN_REMCSUM = 2

# Bits of AddressRow.kept_back and Director.masquerades: where a packet comes in
FROM_CLIENTS = 1
FROM_SERVERS = 2

# Marks of a connection entry
INACTIVE = 1  # counted as inactive at its destination
NO_OUTPUT = 2  # no reply was seen yet; never with NAT
TEMPLATE = 4  # a persistence entry; its state is 0 or ASSURED
ONE_PACKET = 8  # never in the table, gone after its packet
CONTROLLED = 16  # has a controlling entry, its template: Link.control
CONTROLS = 32  # is the controlling entry of others: Link.controls > 0

# State of a template: an entry that it controls was seen to be answered
ASSURED = 1

# Flow.addr of those whose answers go straight from the destination to the client
STRAIGHT = -1

# Bits of AddressRow.odd: what no single host has as its address
NEVER_SOURCE = 1  # nobody sends from it
NEVER_TARGET = 2  # nothing goes to it
MANY = 4  # broadcast or multicast

# AddressRow.local of what only a routing rule makes the director's
BY_ROUTING = 2

# Bytes that every link carries, and the most that a route's MTU may be
LEAST_V4 = 68
LEAST_V6 = 1280
MOST_MTU = 65535

# Address families
IPV4 = 4
IPV6 = 6
