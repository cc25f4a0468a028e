"""The nouns: frozen value types that travel between the parts of lbsim, one module per noun.

* ``config``   what the operator typed: admin commands, and the services and destinations they make
* ``trace``    packets as columns
* ``verdict``  what can happen to a packet, and why: the one table of verdicts and reasons
* ``finding``  something worth saying about a config or a run that is not an error
* ``result``   what a run answered, the same type for the engine and for a real kernel
"""
