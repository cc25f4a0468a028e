"""Codes of verdicts and reasons, as the engine writes them.

Their names and exact conditions stand in ``lbsim.model.verdict``, one row per code; the docs page is generated
from there. Codes are never reused: results on disk carry them.
"""

# Verdicts: what becomes of a packet.
NONE = 0  # the director never had the packet: nobody was there to send it, or it went another way
FORWARD = 1  # translated and sent on
DROP = 2  # silently gone
REJECT = 3  # gone, and the director answers with an ICMP error
LOCAL = 4  # handed to the director's own network stack
ROUTE = 5  # forwarded like any router would, untouched by IPVS
UNMODELLED = 6  # lbsim does not model what the kernel would do

# Reasons: why. One verdict each.
NEW = 1
KNOWN = 2
RESCHEDULED = 3
TRANSLATED = 4
ICMP_TO_DEST = 5
ICMP_TO_CLIENT = 6
TUNNEL_ERROR = 7
ICMP_ROUTED = 8
DEST_REMOVED = 10
HEADER_CUT = 11
INVALID_IP = 12
DROP_PACKET = 13
NO_DEST_UNTOLD = 14
WRONG_WAY = 15
ICMP_CHECKSUM = 16
TOO_NARROW = 17
MARTIAN_SOURCE = 18
TUNNEL_NOTED = 19
NO_DEST = 20
TTL_EXCEEDED = 21
SERVER_REFUSED = 22
NO_ROUTE = 23
MTU_EXCEEDED = 24
NO_NEXT_HOP = 25
BAD_OPTION = 26
NO_SERVICE = 30
NOT_SYN = 31
FTP_DATA_SOURCE = 32
OTHER_PROTOCOL = 33
IPVS_OFF = 34
FTP_NO_DEST = 35
NO_IKE = 36
LOCAL_DEST = 37
ICMP_UNRELATED = 38
FRAGMENT_KEPT = 39
NOT_LOCAL = 40
NO_CONNECTION = 41
NOT_BALANCED = 42
LOCAL_NEW = 43
NO_RESPONDER = 50
STRAIGHT_REPLY = 51
TEMPLATE_ANSWERED = 62
MASQUERADED = 63
TOLD_ITSELF = 64
FORWARD_DROPPED = 70
SOURCE_ROUTED = 71
MARTIAN_TARGET = 72
NOT_UNICAST = 73
TTL_UNTOLD = 74
NO_ROUTE_UNTOLD = 75
MTU_UNTOLD = 76

# A program on the director got the packet, as a destination.
TO_PROGRAM = (LOCAL_DEST, LOCAL_NEW)
