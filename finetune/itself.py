"""Is a chat model, by its name or the addresses in its options, the bot itself?

Addresses are compared by host and port, whatever their spelling: every loopback address, the unspecified one, those of
this machine's interfaces and its names are one host. Other names are not looked up, so that one which a name server
leads back here is not recognised.
"""

import ipaddress
import socket
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

import psutil

HERE = "localhost"
ADDRESSES = {
    "openai": ("OPENAI_API_BASE", "OPENAI_BASE_URL"),
    "azure_openai": ("AZURE_OPENAI_ENDPOINT", "OPENAI_API_BASE", "OPENAI_BASE_URL"),
}
"""What LangChain's packages read an address from where no option names one, by provider."""
NAMING = ("base_url", "openai_api_base", "azure_endpoint")
"""The options that stand before those variables."""
PORTS = {"http": 80, "https": 443}
DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))
"""What also divides the parts of a host (RFC 3490, section 3.1): clients connect there as if it were a full stop."""


def is_tested(
    model: str, options: Mapping[str, Any], tested: Sequence[str], environment: Mapping[str, str] | None = None
) -> bool:
    """Whether a model is the bot: `tested` has its base model and its addresses.

    Every text in the options may be an address, and the variables of `environment` that the provider's package reads.
    """
    provider, _, name = model.partition(":")
    known = {one.casefold() for one in tested}
    if {model.casefold(), name.casefold()} & known:
        return True
    own = {place for one in tested if "://" in one and (place := place_of(one)) is not None}
    said = list(_texts(options))
    if not any(options.get(one) for one in NAMING):
        variables = ADDRESSES.get(provider, ADDRESSES["openai"] if not name else ())
        said += [(environment or {}).get(one, "") for one in variables]
    return any(place_of(one) in own for one in said if one)


def _texts(value: Any) -> Iterator[str]:
    """Every text in nested options."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def place_of(text: str) -> tuple[str, int] | None:
    """Host and port of an address, with or without a scheme; None for what is none."""
    try:
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        host, port = parts.hostname, _port(parts)
    except ValueError:
        return None
    return (_host(host), port) if host else None


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS.get(parts.scheme.lower(), 0)


def _host(name: str) -> str:
    """A host in one spelling; HERE for this machine."""
    name = unicodedata.normalize("NFKC", name.translate(DOTS)).lower().rstrip(".").partition("%")[0]
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, 0x7f000001 and other short forms
        except OSError:
            here = name in {
                HERE,
                "localhost.localdomain",
                "ip6-localhost",
                "ip6-loopback",
                socket.gethostname().lower(),
            }
            return HERE if here or name.endswith(f".{HERE}") else name
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    here = address.is_loopback or address.is_unspecified or address in _interfaces()
    return HERE if here else str(address)


def _interfaces() -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses that lead to this machine from anywhere."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = [one.address for several in psutil.net_if_addrs().values() for one in several if one.family in families]
    return {ipaddress.ip_address(address.partition("%")[0]) for address in found}
