"""Stands between sshd and OpenSSH's SFTP server and stops at one kind of request (draft-ietf-secsh-filexfer-02).

    sftp_relay.py REQUEST[:NUMBER] before|after|unanswered|unknown SERVER

The first such request of a connection, or the one of that number. `before`: the request does not reach the server. `after`: the server does it, its answer is lost with the connection.
`unanswered`: the server does it, the connection stays, nobody answers any more.
`unknown`: the server hears of an extension that it does not have.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import IO

KINDS = {"open": 3, "close": 4, "write": 6, "remove": 13, "stat": 17, "rename": 18, "extended": 200}


def packet(stream: IO[bytes]) -> bytes:
    """One packet with its length; empty at the end."""
    head = stream.read(4)
    return head + stream.read(int.from_bytes(head, "big")) if len(head) == 4 else b""


def main() -> None:
    wanted, when, program = sys.argv[1:]
    request, _, number = wanted.partition(":")
    left = int(number or 1)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        quiet = threading.Event()
        answers = threading.Thread(target=relay_answers, args=(server.stdout, quiet))
        answers.start()
        while one := packet(sys.stdin.buffer):
            left -= one[4] == KINDS[request]
            is_it = one[4] == KINDS[request] and not left
            if is_it and when == "unknown":
                one, left = one.replace(b"@openssh.com", b"@unknown.com"), 1
                is_it = False
            if is_it and when == "before":
                break
            if is_it:
                quiet.set()
            server.stdin.write(one)
            server.stdin.flush()
            if is_it and when == "after":
                break
        server.stdin.close()
        server.wait()
        answers.join()


def relay_answers(answers: IO[bytes], quiet: threading.Event) -> None:
    while one := packet(answers):
        if not quiet.is_set():
            sys.stdout.buffer.write(one)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
