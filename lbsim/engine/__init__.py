"""The kernel's behaviour, in integers only. Each file names its kernel counterpart; read ``director`` first.

* ``director``    one packet in, one verdict out; the clock
* ``services``    what admin commands do: services, destinations, the trash
* ``conntable``   connection entries, their two lookups, their birth and their end
* ``timers``      the timer wheel: when an entry's time is really up
* ``tcp``, ``udp``  states and timeouts
* ``forwarding``  header changes
* ``schedulers``  one file each
* ``addresses``, ``hashing``  addresses as ids, hashes that scheduling depends on
* ``records``, ``reasons``    what the rows of the tables hold, codes of verdicts and reasons
* ``lanes``       two ways to run it all: interpreted and compiled
* ``profile``     which kernel is imitated

Nothing here knows text, files, clocks, random numbers or exceptions; what feeds the engine is ``lbsim.host``.
"""
