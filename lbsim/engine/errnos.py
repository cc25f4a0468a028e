"""What admin commands return besides 0: the kernel's errors as negative numbers (errno-base.h)."""

from __future__ import annotations

ENOENT = -2
ESRCH = -3
EEXIST = -17
EINVAL = -22
ERANGE = -34
