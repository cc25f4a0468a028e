"""The kernel's rules once more, the slow and obvious way: plain lists and dicts, every lookup a scan.

Tests compare the engine with these. Nothing here imports ``lbsim``: a mistake has to be made twice to go unseen.

* ``picks``     the schedulers
* ``wheel``     when a timer really fires
* ``tcp``       states, timeouts, which of them count as active
* ``director``  the whole: services, destinations, trash, connection table, verdicts
"""
