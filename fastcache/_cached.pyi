from collections.abc import Callable
from datetime import datetime, timedelta
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    final,
    overload,
    type_check_only,
)

from fastcache._stats import CacheInfo

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R_co = TypeVar("_R_co", covariant=True)
_T = TypeVar("_T")
_S = TypeVar("_S")

@type_check_only
class _Parameters(TypedDict):
    maxsize: float | None
    ttl: float | timedelta | None
    typed: bool

@type_check_only
class _Bound(Generic[_P, _R_co]):
    @property
    def __self__(self) -> object: ...
    @property
    def __wrapped__(self) -> Callable[..., _R_co]: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_clear(self) -> None: ...
    def cache_parameters(self) -> _Parameters: ...

@final
class Cached(Generic[_P, _R_co]):
    __name__: str
    __qualname__: str
    @property
    def __wrapped__(self) -> Callable[_P, _R_co]: ...
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Cached[Concatenate[_S, _Q], _R_co], instance: _S, owner: type | None = None, /
    ) -> _Bound[_Q, _R_co]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def __reduce__(self) -> str: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_clear(self) -> None: ...
    def cache_parameters(self) -> _Parameters: ...

# `getsizeof` measures the results, whose type is unknown here.
@overload
def cached(
    maxsize: float | None,
    ttl: float | None = None,
    *,
    typed: bool = False,
    timer: Callable[[], float] = ...,
    getsizeof: Callable[[Any], float] | None = None,
    shards: int = 1,
) -> Callable[[Callable[_P, _T]], Cached[_P, _T]]: ...
@overload
def cached(
    maxsize: float | None,
    ttl: timedelta,
    *,
    typed: bool = False,
    timer: Callable[[], datetime],
    getsizeof: Callable[[Any], float] | None = None,
    shards: int = 1,
) -> Callable[[Callable[_P, _T]], Cached[_P, _T]]: ...
