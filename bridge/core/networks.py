"""Which addresses are public: the networks that no callback goes to unless an operator opened them.

`ipaddress.is_global` alone does not do: on several Python versions it lets through Azure's wire server, NAT64 and
6to4 forms of private addresses, and multicast. The list below comes first, `is_global` refuses what is left.
Sources: the IANA special-purpose registries for IPv4 and IPv6, and Azure's documentation of 168.63.129.16.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED_IPV4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
    "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
)
_REFUSED_IPV6 = (
    "::/8 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 "
    "fe80::/10 fec0::/10 ff00::/8"
)

#: Refused whatever the Python version thinks of them.
REFUSED: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in f"{_REFUSED_IPV4} {_REFUSED_IPV6}".split())


def is_public(address: Address) -> bool:
    """Tell whether `address` belongs to nobody's inner network. Unmap IPv4-mapped addresses before asking."""
    return address.is_global and not any(address in network for network in REFUSED)


def unmapped(address: Address) -> Address:
    """Take an IPv4 address out of its IPv6 wrapping, `::ffff:a.b.c.d`."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
