"""What kind of file system a folder lies on: SQLite's write-ahead log is unsafe on network drives."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NETWORK = (
    "nfs nfs4 cifs smb3 smbfs afs ncpfs lustre glusterfs ceph davfs 9p "
    "fuse.sshfs fuse.glusterfs fuse.rclone fuse.davfs2 fuse.s3fs fuse.gcsfuse"
)
_NETWORK_TYPES = frozenset(_NETWORK.split())
_MOUNTS = Path("/proc/self/mountinfo")


def on_network(path: Path) -> bool:
    """Whether `path` lies on a network drive, as far as the system tells; False where it does not."""
    if sys.platform == "win32":
        import ctypes

        root = Path(path).absolute().anchor
        return root.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(root) == 4
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return False
    return mount_type(lines, os.fsencode(path.resolve())) in _NETWORK_TYPES


def mount_type(lines: list[bytes], path: bytes) -> str:
    """The type of the file system that holds `path`, from the lines of /proc/self/mountinfo; "" if none."""
    best, found = -1, ""
    for line in lines:
        fields = line.split()
        if b"-" not in fields[6:]:
            continue
        point = fields[4].replace(b"\\040", b" ").replace(b"\\011", b"\t").replace(b"\\134", b"\\")
        inside = path == point or path.startswith(point.rstrip(b"/") + b"/")
        # Of two mounts on one point the later one is seen.
        if inside and len(point) >= best:
            best = len(point)
            found = fields[fields.index(b"-", 6) + 1].decode("ascii", "replace")
    return found
