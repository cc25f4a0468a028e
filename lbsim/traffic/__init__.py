"""Where packets come from: each source of traffic gives a :class:`~lbsim.model.trace.Trace`.

* ``synthetic``       made-up connections of a population of clients, from a seed
* ``draws``           the random numbers for it, the same on every machine
* ``script``          a packet script: one line per packet
* ``pcap``            captures: what their packets mean for a director
* ``capture_reader``  the frames of a pcap or pcapng file
* ``packets``         scapy packets to bytes and back; the only module that imports scapy

Words: a *flow* is a conversation as its client sees it, with a client end and a server end (the virtual
service). A packet is *in* if a client sent it, *out* if a real server did that is named in it, a *reply* if
it comes from whichever destination got the flow's last packet from the client. Times are nanoseconds since
the trace's time 0.

Import the modules themselves: importing one must not pay for the others.
"""
