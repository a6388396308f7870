"""Which addresses are public, and which of the others an operator's networks open.

`ipaddress.is_global` alone does not do: on several Python versions it lets through Azure's wire server, NAT64 and
6to4 forms of private addresses, and multicast. The list below comes first, `is_global` refuses what is left.
Sources: the IANA registries of address space and of special-purpose addresses, for IPv4 and IPv6, and Azure's
documentation of 168.63.129.16 and of 169.254.169.254.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED_IPV4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
    "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
)
#: Of IPv6, IANA has given 2000::/3 to the public internet, and nothing outside of it. The first three networks are
#: all that is outside; the others are exceptions within.
_REFUSED_IPV6 = "::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 3fff::/20"

#: Refused whatever the Python version thinks of them.
REFUSED: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in f"{_REFUSED_IPV4} {_REFUSED_IPV6}".split())


#: This machine, link-local addresses (the metadata service is one) and Azure's wire server. A network that an operator
#: allows opens one of them only if the whole network lies inside of it: a wide network never does.
GUARDED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "::/127", "fe80::/10")
)

#: All addresses, those that are guarded too.
EVERYWHERE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"), *GUARDED)

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_THIS_MACHINE = ipaddress.IPv6Network("::/127")


def is_public(address: Address) -> bool:
    """Tell whether `address` belongs to nobody's inner network. Unmap IPv4-mapped addresses before asking."""
    return address.is_global and not any(address in network for network in REFUSED)


def opens(network: Network, address: Address) -> bool:
    """Tell whether a network that an operator allows opens `address`, which is not public."""
    guards = [guard for guard in GUARDED if any(each in guard for each in (address, *_embedded(address)))]
    return address in network and all(_is_within(network, guard) for guard in guards)


def unmapped(address: Address) -> Address:
    """Take an IPv4 address out of its IPv6 wrapping, `::ffff:a.b.c.d`."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _embedded(address: Address) -> tuple[Address, ...]:
    """Find the IPv4 address to which a gateway may take an IPv6 address: NAT64, 6to4, or the old compatible form."""
    if not isinstance(address, ipaddress.IPv6Address) or address in _THIS_MACHINE:
        return ()
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    wrapped = (low,) if address in _NAT64 or address in _COMPATIBLE else ()
    return wrapped if address.sixtofour is None else (*wrapped, address.sixtofour)


def _is_within(network: Network, outer: Network) -> bool:
    """Tell whether `outer` holds all of `network`; never for two versions of IP."""
    return network.version == outer.version and network[0] in outer and network[-1] in outer
