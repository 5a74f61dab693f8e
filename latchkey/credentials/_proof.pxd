# The parts of a key and of a secret by their sizes, for compiled code; _proof exports them to
# Python.

cpdef enum:
    MARK_SIZE = 3           # "ak_", "sk_"
    MODE_SIZE = 5           # "live_", "test_"
    ID_SIZE = 22
    MAC_SIZE = 43
    CRC_SIZE = 6
    ID_AT = MARK_SIZE + MODE_SIZE
    MAC_AT = ID_AT + ID_SIZE
    CRC_AT = MAC_AT + MAC_SIZE
    API_KEY_SIZE = MAC_AT
    SECRET_SIZE = CRC_AT + CRC_SIZE
    LOOKUP_SIZE = MODE_SIZE + ID_SIZE   # "<mode>_<id>", which a key and its secret share
