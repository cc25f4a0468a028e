"""Scenario files: from YAML to everything a run needs, and from a result back to passed or failed.

* ``yaml_text``     YAML -> plain values, with the line of each
* ``messages``      what the schema refuses, as sentences
* ``consistency``   what a scenario says twice must fit together
* ``load``          all of that in a row: a file -> ``Loaded``
* ``expectations``  ``Loaded`` and a result -> outcomes
* ``table_rows``    expected rows of the connection table
"""

from lbsim.scenario.expectations import check, first_connections_needed, moments_needed
from lbsim.scenario.load import Loaded, SourceText, load

__all__ = ["Loaded", "SourceText", "check", "first_connections_needed", "load", "moments_needed"]
