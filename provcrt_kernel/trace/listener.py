"""Calls as a seccomp listener hands them over: one thread receives and answers.

Promise: every call that is received is answered, whatever happens on the way, unless who decodes it keeps it; then
`resume` answers it. Source: seccomp_unotify(2).
"""

from __future__ import annotations

import errno
import select
import threading
import time
from fcntl import ioctl
from typing import TYPE_CHECKING

from provcrt_kernel.trace import notify

if TYPE_CHECKING:
    import mmap

    from provcrt_kernel.trace.supervisor import Supervisor


class Listener:
    """Serves one listener until the last task that it listens to is gone.

    Parameters
    ----------
    descriptor : int
        Of the listener; it is not closed here.
    page : mmap
        From `notify.shared_page`: where the notice lies that is being answered, for a successor.
    """

    def __init__(self, descriptor: int, page: mmap.mmap) -> None:
        self._descriptor = descriptor
        self._page = page

    def start(self, supervisor: Supervisor) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._serve, args=(supervisor,), name="notices", daemon=True).start()

    def resume(self, notice: int) -> None:
        """Let a call that was kept go on."""
        notify.resume(self._descriptor, notice)

    def _serve(self, supervisor: Supervisor) -> None:
        notify.wake_in_step(self._descriptor)
        listener, page, keeps = self._descriptor, self._page, supervisor.keeps
        unpack, receive = notify.NOTICE.unpack_from, notify.receiver(listener, page)
        answer = bytearray(notify.ANSWER.size)
        pack, send, go_on = notify.ANSWER.pack_into, notify.SEND, notify.CONTINUE
        while True:
            try:
                receive()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    supervisor.spoil(f"the listener failed: {error.strerror}")
                    time.sleep(0.01)
                elif self._finished():
                    return
                continue
            notice = unpack(page)
            if keeps(notice):
                continue
            pack(answer, 0, notice[0], 0, 0, go_on)
            try:
                ioctl(listener, send, answer, True)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    supervisor.spoil(f"a call could not be answered: {error.strerror}")

    def _finished(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))
