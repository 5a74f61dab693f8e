from typing import final

@final
class Recent:
    def __new__(cls, size: int, /) -> Recent: ...
