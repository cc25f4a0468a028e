"""Links, addresses, routes, rules and neighbours of the network namespace that this process is in.

pyroute2 makes the messages. They are sent here, many at a time: one by one through pyroute2 each takes a turn of its
event loop, and under emulation these were half of what a job cost. A bench asks for the same things again and again,
so each message is made once; a guest is told those that it will need, as importing pyroute2 there takes seconds.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, TypeAlias

__all__ = ["Ask", "collected", "import_all", "know", "requests"]

#: ask("link", "set", index=3, state="up"): as the methods of pyroute2's ``IPRoute``.
Ask: TypeAlias = Callable[..., None]

_AT_ONCE = 64  # their answers fit into a socket's buffer
_ANSWER = struct.Struct("=IHHIIi").unpack_from  # length, type, flags, number, port; of an answer the error
_NLMSG_ERROR = 2
_MESSAGES: dict[str, bytes] = {}


def import_all() -> None:
    """Import what is imported late."""
    with closing(_Compiler()) as compiler:
        compiler.message("link", "set", {"index": 1, "state": "up"})


def know(messages: Mapping[str, str]) -> None:
    """Messages that need not be made any more: what is asked for -> bytes in hexadecimal."""
    _MESSAGES.update((words, bytes.fromhex(message)) for words, message in messages.items())


@contextmanager
def collected() -> Iterator[tuple[Ask, dict[str, bytes]]]:
    """Collects requests and sends none: how to ask, and the message of everything asked for.

    Raises
    ------
    ModuleNotFoundError : there is no pyroute2.
    """
    messages: dict[str, bytes] = {}
    with closing(_Compiler()) as compiler:

        def ask(what: str, verb: str, **options: Any) -> None:
            words, message = compiler.message(what, verb, options)
            messages[words] = message

        yield ask, messages


@contextmanager
def requests() -> Iterator[Ask]:
    """Collects requests, and sends them when the block ends without an exception.

    Raises
    ------
    OSError : the kernel refuses one; those before and some behind it were carried out.
    ModuleNotFoundError : there is no pyroute2.
    """
    asked: list[tuple[str, bytes]] = []
    with closing(_Compiler()) as compiler:

        def ask(what: str, verb: str, **options: Any) -> None:
            asked.append(compiler.message(what, verb, options))

        yield ask
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for begin in range(0, len(asked), _AT_ONCE):
            _send(kernel, asked[begin : begin + _AT_ONCE])


def _send(kernel: socket.socket, messages: list[tuple[str, bytes]]) -> None:
    """Send some requests at once; there is an answer to each, in their order."""
    kernel.send(b"".join(message for _, message in messages))
    waiting = deque(messages)
    while waiting:
        data = kernel.recv(1 << 16)
        while data:
            length, kind, _, _, _, error = _ANSWER(data)
            data = data[(length + 3) & ~3 :]
            if kind == _NLMSG_ERROR:
                words, _ = waiting.popleft()
                if error:
                    raise OSError(-error, f"{os.strerror(-error)}: ip {words}")


class _Compiler:
    """Makes messages. pyroute2 is asked only for those that are not known yet."""

    def __init__(self) -> None:
        self._batch: Any = None

    def message(self, what: str, verb: str, options: dict[str, Any]) -> tuple[str, bytes]:
        """What is asked for, in words, and the message for it."""
        words = f"{what} {verb} {options}"
        if words not in _MESSAGES:
            self._batch = self._batch or _ip_batch()
            self._batch.reset()
            getattr(self._batch, what)(verb, **options)
            _MESSAGES[words] = bytes(self._batch.batch)
        return words, _MESSAGES[words]

    def close(self) -> None:
        """Give back its socket, which would keep the namespace alive."""
        if self._batch:
            self._batch.close()


def _ip_batch() -> Any:
    """pyroute2's ``IPBatch``, without all the rest of it that its package imports.

    Under emulation that rest takes a second of every boot, so the package is known here but not executed.
    """
    if "pyroute2" not in sys.modules:
        spec = importlib.util.find_spec("pyroute2")
        if spec is None:
            raise ModuleNotFoundError("no pyroute2: pip install 'lbsim[kernel]'")
        sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
    return importlib.import_module("pyroute2.iproute.linux").IPBatch()
