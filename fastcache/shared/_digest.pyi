from typing import ClassVar, Literal, final

@final
class KeyedDigest:
    algorithm: ClassVar[Literal["sha256", "blake2b"]]
    def __new__(cls, key: bytes) -> KeyedDigest: ...
    def digest(self, data: str | bytes, /) -> bytes: ...
