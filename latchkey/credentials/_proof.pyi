MARK_SIZE: int
MODE_SIZE: int
ID_SIZE: int
MAC_SIZE: int
CRC_SIZE: int
ID_AT: int
MAC_AT: int
CRC_AT: int
API_KEY_SIZE: int
SECRET_SIZE: int
LOOKUP_SIZE: int

def proof_in(text: str, /) -> bytes | None: ...
