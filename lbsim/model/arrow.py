"""A result's packets as Arrow columns, with names in place of numbers.

Every column of a result is there under its name. What is a number in a result because it stands for a name (addresses,
verdict, reason, direction, destination) is text here, and a column ``service`` says which service a destination belongs
to. What a packet does not have (a destination, a new header) is null.

pyarrow (extra ``arrow``) is imported when the first batch is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lbsim.errors import LbsimError
from lbsim.model.address_text import address_texts
from lbsim.model.result import RESULT_COLUMNS, Provenance, Result, ResultBlock
from lbsim.model.verdict import REASONS, Verdict

if TYPE_CHECKING:
    from lbsim.model.trace import IntColumn

__all__ = ["block_batch", "pyarrow", "result_batches", "schema"]

_ADDRESSES = ("src", "dst", "new_src", "new_dst")

_DIRECTIONS = ("in", "out")
_ALL_KNOWN = {"direction": _DIRECTIONS, "verdict": [v.name for v in Verdict], "reason": [r.name for r in REASONS]}
_REASON_PLACE = np.zeros(1 + max(reason.code for reason in REASONS), dtype="i4")  # code -> place in REASONS
_REASON_PLACE[[reason.code for reason in REASONS]] = range(len(REASONS))
_BATCH = 1 << 20  # rows


def pyarrow() -> Any:
    """The module; LbsimError says how to get it."""
    try:
        import pyarrow as module
    except ImportError:
        raise LbsimError("pyarrow is missing; expected it installed: pip install 'lbsim[arrow]'") from None
    return module


def schema(provenance: Provenance, *, dictionaries: bool = True) -> Any:
    """The pyarrow.Schema of all batches; where a result comes from is its metadata ``lbsim`` (JSON).

    Parameters
    ----------
    dictionaries : all texts are dictionary-encoded; False: only those whose values are known beforehand. Batches of one
        Arrow file must share dictionaries, and addresses are only known when the last one has been seen.
    """
    import json

    pa = pyarrow()
    encoded = pa.dictionary(pa.int32(), pa.string())
    kinds = {name: pa.from_numpy_dtype(np.dtype(kind)) for name, kind in RESULT_COLUMNS.items()}
    kinds |= dict.fromkeys(_ALL_KNOWN, encoded)
    kinds |= dict.fromkeys((*_ADDRESSES, "dest"), encoded if dictionaries else pa.string())
    fields = [(name, kind) for name, kind in kinds.items()]
    fields.insert(list(kinds).index("dest"), ("service", kinds["dest"]))
    return pa.schema(fields, metadata={"lbsim": json.dumps(asdict(provenance))})


def result_batches(result: Result) -> Any:
    """A pyarrow.RecordBatchReader over a result's packets.

    Raises
    ------
    LbsimError : the result has no columns, or there is no pyarrow.
    """
    result.need_columns()
    pa, fields = pyarrow(), schema(result.provenance)
    destinations = [(row.service, row.dest) for row in result.destinations]
    texts = pa.array(result.addresses, pa.string())
    parts = (
        {name: column[at : at + _BATCH] for name, column in result.columns.items()}
        for at in range(0, len(result), _BATCH)
    )
    return pa.RecordBatchReader.from_batches(fields, (_batch(part, texts, destinations, fields) for part in parts))


def block_batch(answers: ResultBlock, fields: Any) -> Any:
    """The pyarrow.RecordBatch of a block; its addresses are only those that occur in it."""
    occurs = np.zeros(len(answers.addresses) + 1, dtype=bool)  # the last one for -1
    for name in _ADDRESSES:
        occurs[answers[name]] = True
    (used,) = np.nonzero(occurs[:-1])
    place = np.empty(len(occurs), dtype="i4")
    place[used] = np.arange(len(used))
    place[-1] = -1
    columns = dict(answers.columns) | {name: place[answers[name]] for name in _ADDRESSES}
    texts = pyarrow().array(address_texts(answers.addresses.take(used)), pyarrow().string())
    return _batch(columns, texts, answers.destinations, fields)


def _batch(
    columns: Mapping[str, IntColumn], addresses: Any, destinations: Sequence[tuple[str, str]], fields: Any
) -> Any:
    pa = pyarrow()
    services, dests = ([pair[at] for pair in destinations] for at in (0, 1))
    arrays = {"service": _named(columns["dest"], services), "dest": _named(columns["dest"], dests)}
    arrays |= {name: _indexed(columns[name], addresses) for name in _ADDRESSES}
    places = {**columns, "reason": _REASON_PLACE[columns["reason"]]}
    arrays |= {name: _indexed(places[name], pa.array(known, pa.string())) for name, known in _ALL_KNOWN.items()}
    kept = columns["verdict"] == Verdict.FORWARD
    arrays |= {name: pa.array(columns[name], mask=~kept) for name in ("new_sport", "new_dport")}
    arrays |= {name: pa.array(columns[name]) for name in RESULT_COLUMNS if name not in arrays}
    return pa.record_batch([arrays[field.name].cast(field.type) for field in fields], schema=fields)


def _indexed(index: IntColumn, texts: Any) -> Any:
    """Texts by their indices; those below 0 are null."""
    pa = pyarrow()
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32(), mask=index < 0), texts)


def _named(index: IntColumn, names: Sequence[str]) -> Any:
    """Names by their indices; a name that occurs twice is one entry of the dictionary."""
    pa = pyarrow()
    numbers: dict[str, int] = {}
    place = np.array([*(numbers.setdefault(name, len(numbers)) for name in names), -1], dtype="i4")
    return _indexed(place[index], pa.array(list(numbers), pa.string()))
