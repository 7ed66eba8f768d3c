"""The progress line, through a real terminal: drawn on stderr, as wide as the terminal, gone at the end."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

import pytest

from conftest import BIN


def on_terminal(box, columns, *argv):
    """(everything written to the terminal, exit status) of a run that is held up on its way.

    The tool says nothing in its first second; how long the work takes is the machine's affair, so
    it is stopped for almost half a second at a time, four times, or until a line was drawn.
    """
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(box.path)
        os.execve(str(BIN / "propenc"), ["propenc", *map(str, argv)], {**box.env, "TERM": "xterm"})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    out, stopped, stops, turn, begun = b"", False, 0, time.monotonic(), time.monotonic()
    while time.monotonic() - begun < 100:
        if select.select([fd], [], [], 0.02)[0]:
            try:
                piece = os.read(fd, 65536)
            except OSError:  # the other end is closed
                piece = b""
            if not piece:
                break
            out += piece
        drawn = b"left" in out or stops == 4 and not stopped
        if stopped and (drawn or time.monotonic() - turn > 0.4):
            os.kill(pid, signal.SIGCONT)
            stopped, turn = False, time.monotonic()
        elif not stopped and not drawn and time.monotonic() - turn > 0.05:
            os.kill(pid, signal.SIGSTOP)
            stopped, stops, turn = True, stops + 1, time.monotonic()
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return out.decode(), os.waitstatus_to_exitcode(status)


@pytest.fixture
def big(box):
    box.run("propkey", "gen", "kek.bin")
    with open(box / "big.wasm", "wb") as f:
        f.write(b"\0asm\1\0\0\0")
        f.truncate(512 << 20)  # sparse: it costs no disk
    return ["big.wasm", "sink:", "-r",
            "provider:attestation-agent:keypath=kek.bin::keyid=kbs:///default/key/x::algorithm=A256GCM"]


@pytest.mark.parametrize("columns", [100, 60])
def test_rate_and_time_left(box, big, columns):
    text, status = on_terminal(box, columns, "encrypt", *big)
    assert status == 0, text
    lines = [part.split("\x1b[K")[0] for part in text.split("\r") if "left" in part]
    assert lines and all(len(line) < columns for line in lines), lines
    line = lines[-1]
    assert re.search(r"\d+%  [\d.]+ [KMG]iB/512\.0 MiB  [\d.]+ [KMG]iB/s  (\d+:)?\d+:\d\d left$", line), line
    assert line.startswith("read  [#") == (columns == 100)
    # wiped before the result is printed
    assert text.rindex("\r\x1b[K") > text.rindex("left")
    assert re.search(r"sha256:[0-9a-f]{64}", text[text.rindex("\r\x1b[K"):])


def test_none_when_told(box, big):
    text, status = on_terminal(box, 80, "encrypt", *big, "--no-progress")
    assert status == 0 and "left" not in text and "\x1b" not in text
