"""uvicorn's HTTP parser with an end to its patience: a request's head that does not stop is not read for ever."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: What `RequestLimits` answers properly is shorter. This is for who sends more than any answer is worth.
MAX_HEAD_BYTES = 256 * 1024


class PatientProtocol(HttpToolsProtocol):
    """Closes connections on which more than `MAX_HEAD_BYTES` came without the head of a request being complete.

    The parser itself keeps whatever comes until then.
    """

    _in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        went_on = self._in_head
        super().data_received(data)
        if not (went_on and self._in_head):
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.logger.warning("A request's head was longer than %d bytes.", MAX_HEAD_BYTES)
            self.send_400_response("The request's head is too long.")

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
