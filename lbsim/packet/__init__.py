"""Packets as bytes, from the IP header on: what a verdict does to them, and what the director itself sends.

No packet makes anything here raise; bytes that make no sense are left as they are.

* ``headers``       ``parse``: bytes -> the header fields; every other module asks it where things are
* ``octets``        numbers, addresses and bytes, written into a packet
* ``checksum``      the internet checksum: in full, and updated for changed fields the way the kernel does it
* ``rewrite``       ``rewrite``: bytes and a ``model.verdict.Rewrite`` -> the bytes that leave the director
* ``offload``       ``with_checksum``: the checksum that a captured packet's sender left to its network card
* ``build``         ``build``: a row of a trace -> its bytes; ``build_packet``: the same from single values
* ``answers``       what the director's own network stack answers: ICMP errors and TCP resets
* ``bulk``          ``put_records``: columns of packets -> records of capture files
* ``received``      ``CaptureWriter``: a run, block by block -> what each real server and the clients received
* ``dispatch``      many capture files at once, filled through one buffer
* ``capture_file``  a capture file that is complete or absent

What is done to one packet and to millions of them is done by the same functions; they are marked ``@kernel`` and run
interpreted or compiled (``engine.lanes``).

Words: *l4* is the offset of the transport header; *shape* says how much of that header there is
(``engine.numbers``); a *whole* packet is one of which every byte that its IP header promises is there.
"""
