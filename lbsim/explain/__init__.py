"""Why the director did what it did with a packet: the scenario runs in the engine, which is watched at that packet.

* ``flow_text``   flows as text
* ``kinds``       what there is to say of each scheduler
* ``decisions``   a scheduler's decision
* ``observing``   what the engine does with one packet, seen while it does it
* ``names``       rows as the words of results
* ``causes``, ``headers``   which case of its reason a packet is; how it leaves
* ``icmp_names``  what ICMP errors are called
* ``facts``       what was seen -> ``model.explanation.Explanation``
* ``explaining``  a config and a trace -> explanations
* ``words``, ``cause_words``, ``scheduler_words``, ``way_words``   an explanation as sentences
"""

from lbsim.explain.explaining import Selection, TheFlow, ThePacket, explain, explained
from lbsim.explain.flow_text import FlowName
from lbsim.explain.words import lines

__all__ = ["FlowName", "Selection", "TheFlow", "ThePacket", "explain", "explained", "lines"]
