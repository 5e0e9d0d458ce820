"""An SFTP server for tests that misbehaves like real servers other than OpenSSH's.

sshd starts it in place of its own (`Subsystem sftp`), so SSH itself is real. It speaks SFTP 3 on standard input and
output, serves the directory in its first argument, and misbehaves according to further arguments, each `switch` or
`switch=value`. It writes each request to the file in `log=`.

    late=CLOSE:3          answers CLOSE (RENAME, FSYNC, REMOVE ...) that many seconds late
    lost=CLOSE:3          hangs up instead of answering, that many seconds later, each time; `once` limits it to one
    deny=STAT,OPEN-READ   answers these with `status=` (3 where not given)
    resume=refuse         refuses to open a file that is there for writing without TRUNC, with `status=`
    resume=write          takes the open, refuses the first write behind the beginning
    resume=append         takes both, and ignores where a write belongs
    resume=truncate       empties the file at each open for writing
    resume=hangup         hangs up at such an open
    attrs=bare|empty|typeless   leaves out the permissions; everything; the type bits of the permissions
    rename=lies|replaces  does it and answers failure; replaces what is there
    extensions=none       announces none and refuses them; `extensions=hangup` ends at the first
    longname=none         names in a listing come without their long form
    exclusive=unknown     refuses to open with EXCL, as not supported
    remove=refuse         removes nothing
    short=N               loses all bytes of a file behind the first N
    text=HEX              writes these bytes a moment after it answered the greeting
"""

import os
import stat
import struct
import sys
import threading
import time

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR = range(1, 15)
RMDIR, REALPATH, STAT, RENAME = 15, 16, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201
NAMES = {
    OPEN: "OPEN", CLOSE: "CLOSE", READ: "READ", WRITE: "WRITE", LSTAT: "LSTAT", FSTAT: "FSTAT", SETSTAT: "SETSTAT",
    FSETSTAT: "FSETSTAT", OPENDIR: "OPENDIR", READDIR: "READDIR", REMOVE: "REMOVE", MKDIR: "MKDIR", RMDIR: "RMDIR",
    REALPATH: "REALPATH", STAT: "STAT", RENAME: "RENAME",
}
OK, EOF, MISSING, DENIED, FAILURE, UNSUPPORTED = 0, 1, 2, 3, 4, 8
F_READ, F_WRITE, F_APPEND, F_CREATE, F_TRUNC, F_EXCL = 1, 2, 4, 8, 16, 32


class Refused(Exception):
    def __init__(self, status):
        self.status = status


class Server:
    def __init__(self, root, switches):
        self.root, self.switches = root, switches
        self.handles, self.count = {}, 0
        self.source, self.sink = sys.stdin.buffer, sys.stdout.buffer
        self.denied = set(filter(None, switches.get("deny", "").split(",")))
        self.status = int(switches.get("status", "3"))
        self.delays = {key: self.timed(key) for key in ("late", "lost")}

    def timed(self, key):
        found = {}
        for part in filter(None, self.switches.get(key, "").split(",")):
            name, _, seconds = part.partition(":")
            found[name] = float(seconds or 0)
        return found

    def note(self, words):
        if "log" in self.switches:
            with open(self.switches["log"], "a") as log:
                log.write(words + "\n")

    def path(self, name):
        name = name.decode()
        full = os.path.normpath(os.path.join(self.root, name.lstrip("/")))
        return full if (full + "/").startswith(self.root + "/") else self.root

    def send(self, kind, body):
        self.sink.write(struct.pack(">IB", len(body) + 1, kind) + body)
        self.sink.flush()

    def answer(self, request, status):
        words = b"answered by the stand-in"
        self.send(STATUS, struct.pack(">II", request, status) + string(words) + string(b""))

    def attrs(self, found):
        mode, form = found.st_mode, self.switches.get("attrs", "")
        if form == "empty":
            return struct.pack(">I", 0)
        flags, body = 1, struct.pack(">Q", found.st_size)
        if form != "bare":
            flags |= 4
            body += struct.pack(">I", stat.S_IMODE(mode) if form == "typeless" else mode)
        flags |= 8
        body += struct.pack(">II", int(found.st_atime), int(found.st_mtime))
        return struct.pack(">I", flags) + body

    def serve(self):
        while True:
            head = self.source.read(4)
            if len(head) < 4:
                return
            body = self.source.read(struct.unpack(">I", head)[0])
            kind = body[0]
            if kind == INIT:
                extensions = b""
                if self.switches.get("extensions") not in ("none", "hangup"):
                    extensions = string(b"fsync@openssh.com") + string(b"1")
                self.send(VERSION, struct.pack(">I", 3) + extensions)
                if "text" in self.switches:
                    threading.Timer(0.3, self.write_text).start()
                continue
            request, rest = struct.unpack(">I", body[1:5])[0], Reader(body[5:])
            name = "FSYNC" if kind == EXTENDED and rest.peek() == b"fsync@openssh.com" else NAMES.get(kind, str(kind))
            try:
                self.one(kind, name, request, rest)
            except Refused as refused:
                self.answer(request, refused.status)
            except FileNotFoundError:
                self.answer(request, MISSING)
            except PermissionError:
                self.answer(request, DENIED)
            except OSError:
                self.answer(request, FAILURE)

    def write_text(self):
        self.sink.write(bytes.fromhex(self.switches["text"]))
        self.sink.flush()

    def wait(self, name):
        if name in self.delays["late"]:
            time.sleep(self.delays["late"][name])
        if name in self.delays["lost"]:
            once = self.switches.get("once")
            if not once or not os.path.exists(once):
                if once:
                    open(once, "w").close()
                time.sleep(self.delays["lost"][name])
                os._exit(1)

    def one(self, kind, name, request, rest):
        if kind == OPEN:
            flags = struct.unpack(">I", rest.rest[4 + len(rest.peek()):][:4])[0]
            name = "OPEN-WRITE" if flags & F_WRITE else "OPEN-READ"
        if kind not in (READ, WRITE):
            shown = rest.peek().decode(errors="replace") if kind in (OPEN, LSTAT, STAT, OPENDIR, REMOVE, MKDIR, RENAME) else ""
            self.note(f"{name} {shown}")
        if name in self.denied:
            raise Refused(self.status)
        self.wait(name) if name != "RENAME" else None
        if kind == OPEN:
            self.open(request, rest)
        elif kind == CLOSE:
            kept = self.handles.pop(rest.string())
            if kept[0] == "file":
                os.close(kept[1])
            self.answer(request, OK)
        elif kind == READ:
            handle, offset, length = self.handles[rest.string()], rest.u64(), rest.u32()
            data = os.pread(handle[1], min(length, 32768), offset)
            self.send(DATA, struct.pack(">I", request) + string(data)) if data else self.answer(request, EOF)
        elif kind == WRITE:
            self.write(request, rest)
        elif kind in (LSTAT, STAT):
            look = os.lstat if kind == LSTAT else os.stat
            self.send(ATTRS, struct.pack(">I", request) + self.attrs(look(self.path(rest.string()))))
        elif kind == FSTAT:
            self.send(ATTRS, struct.pack(">I", request) + self.attrs(os.fstat(self.handles[rest.string()][1])))
        elif kind == OPENDIR:
            path = self.path(rest.string())
            self.answer_handle(request, ["dir", path, sorted(os.listdir(path))])
        elif kind == READDIR:
            handle = self.handles[rest.string()]
            batch, handle[2] = handle[2][:50], handle[2][50:]
            if not batch:
                raise Refused(EOF)
            body = b""
            for entry in batch:
                found = os.lstat(os.path.join(handle[1], entry))
                long = b"" if self.switches.get("longname") == "none" else b"-rw-r--r-- 1 o o 0 Jan 1 " + entry.encode()
                body += string(entry.encode()) + string(long) + self.attrs(found)
            self.send(NAME, struct.pack(">II", request, len(batch)) + body)
        elif kind == REMOVE:
            if self.switches.get("remove") == "refuse":
                raise Refused(self.status)
            os.unlink(self.path(rest.string()))
            self.answer(request, OK)
        elif kind == MKDIR:
            os.mkdir(self.path(rest.string()))
            self.answer(request, OK)
        elif kind == REALPATH:
            path = b"/" + os.path.relpath(self.path(rest.string()), self.root).encode().lstrip(b".")
            self.send(NAME, struct.pack(">II", request, 1) + string(path) + string(path) + struct.pack(">I", 0))
        elif kind == RENAME:
            self.rename(request, rest)
        elif name == "FSYNC":
            form = self.switches.get("extensions")
            if form == "hangup":
                os._exit(1)
            if form == "none":
                raise Refused(UNSUPPORTED)
            rest.string()
            os.fsync(self.handles[rest.string()][1])
            self.answer(request, OK)
        else:
            raise Refused(UNSUPPORTED)

    def open(self, request, rest):
        path, flags = self.path(rest.string()), rest.u32()
        form, there = self.switches.get("resume", ""), os.path.exists(path)
        if flags & F_EXCL and self.switches.get("exclusive") == "unknown":
            raise Refused(UNSUPPORTED)
        resumes = bool(flags & F_WRITE and there and not flags & (F_TRUNC | F_EXCL))
        if resumes and form == "refuse":
            raise Refused(self.status)
        if resumes and form == "hangup":
            os._exit(1)
        mode = os.O_RDWR if flags & F_READ and flags & F_WRITE else os.O_WRONLY if flags & F_WRITE else os.O_RDONLY
        for bit, flag in ((F_CREATE, os.O_CREAT), (F_EXCL, os.O_EXCL), (F_TRUNC, os.O_TRUNC)):
            mode |= flag if flags & bit else 0
        if resumes and form == "truncate":
            mode |= os.O_TRUNC
        if resumes and form == "append":
            mode |= os.O_APPEND
        self.answer_handle(request, ["file", os.open(path, mode, 0o600), resumes])

    def answer_handle(self, request, kept):
        self.count += 1
        handle = struct.pack(">I", self.count)
        self.handles[handle] = kept
        self.send(HANDLE, struct.pack(">I", request) + string(handle))

    def write(self, request, rest):
        handle, offset, data = self.handles[rest.string()], rest.u64(), rest.string()
        form = self.switches.get("resume", "")
        if handle[2] and form == "write":
            raise Refused(self.status)
        if "short" in self.switches:
            data = data[: max(0, int(self.switches["short"]) - offset)]
        if handle[2] and form == "append":
            # A server that counts from what it was told, and from the end of the file.
            os.write(handle[1], data[:-1] if len(data) > 1 else data)
        else:
            os.pwrite(handle[1], data, offset)
        self.answer(request, OK)

    def rename(self, request, rest):
        source, target = self.path(rest.string()), self.path(rest.string())
        form = self.switches.get("rename", "")
        if os.path.lexists(target) and form != "replaces":
            raise Refused(FAILURE)
        os.rename(source, target)
        self.wait("RENAME")
        self.answer(request, FAILURE if form == "lies" else OK)


class Reader:
    def __init__(self, rest):
        self.rest = rest

    def peek(self):
        return self.rest[4:4 + struct.unpack(">I", self.rest[:4])[0]]

    def string(self):
        found = self.peek()
        self.rest = self.rest[4 + len(found):]
        return found

    def u32(self):
        found, self.rest = struct.unpack(">I", self.rest[:4])[0], self.rest[4:]
        return found

    def u64(self):
        found, self.rest = struct.unpack(">Q", self.rest[:8])[0], self.rest[8:]
        return found


def string(data):
    return struct.pack(">I", len(data)) + data


def main():
    switches = dict(part.partition("=")[::2] for part in sys.argv[2:])
    if "also" in switches and os.path.exists(switches["also"]):
        # Switches that a test sets while sshd runs, for the next connection.
        with open(switches["also"]) as more:
            switches.update(part.partition("=")[::2] for part in more.read().split())
    Server(os.path.realpath(sys.argv[1]), switches).serve()


main()
