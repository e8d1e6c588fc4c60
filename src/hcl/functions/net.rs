//! Functions on IP networks.
//!
//! As in Go's `net`, an IPv4 address in IPv6 notation is computed as an IPv6 address of 128 bits, and written as
//! IPv4.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::hcl::cty::{Type, Value};

/// The most bits by which one call may extend a prefix.
const LONGEST_EXTENSION: i64 = 32;

const PREFIX: &[Parameter] = &[Parameter::string("prefix")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "cidrhost",
        "The address of the host with the given number in a network; negative numbers count from its end.",
        &[Parameter::string("prefix"), Parameter::number("hostnum")],
        host,
    ),
    Function::new("cidrnetmask", "The netmask of a network.", PREFIX, |call| {
        let network = network(call)?;
        let mask = Network {
            address: network.mask(),
            ..network
        };
        Ok(mask.address_text().into())
    }),
    Function::new(
        "cidrsubnet",
        "The subnet with the given number in a network; its prefix is the given number of bits longer.",
        &[
            Parameter::string("prefix"),
            Parameter::number("newbits"),
            Parameter::number("netnum"),
        ],
        subnet,
    ),
    Function::new(
        "cidrsubnets",
        "Consecutive subnets of a network; each prefix is the given number of bits longer.",
        PREFIX,
        subnets,
    )
    .and_more(Parameter::number("newbits")),
];

/// A network: an address in which all bits after the prefix are zero.
#[derive(Debug, Clone, Copy)]
struct Network {
    address: u128,
    prefix: u32,
    /// The number of bits of an address: 32 or 128.
    width: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        if prefix.is_empty() || !prefix.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let (address, width) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= width)?;
        let network = Self {
            address,
            prefix,
            width,
        };
        Some(Self {
            address: address & network.mask(),
            ..network
        })
    }

    /// The number of bits that number the hosts.
    fn host_bits(self) -> u32 {
        self.width - self.prefix
    }

    fn host_mask(self) -> u128 {
        1u128
            .checked_shl(self.host_bits())
            .map_or(u128::MAX, |next| next - 1)
    }

    fn mask(self) -> u128 {
        let all = if self.width == 32 {
            u128::from(u32::MAX)
        } else {
            u128::MAX
        };
        all & !self.host_mask()
    }

    /// Whether this is an IPv4 address in IPv6 notation.
    fn is_mapped(self) -> bool {
        self.width == 128 && self.address >> 32 == 0xffff
    }

    fn address_text(self) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low 32 bits are the IPv4 address"
        )]
        let low = self.address as u32;
        if self.width == 32 || self.is_mapped() {
            Ipv4Addr::from(low).to_string()
        } else {
            Ipv6Addr::from(self.address).to_string()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.is_mapped() {
            self.prefix.saturating_sub(96)
        } else {
            self.prefix
        };
        write!(f, "{}/{prefix}", self.address_text())
    }
}

fn network(call: &FunctionCall<'_>) -> Result<Network, FunctionError> {
    let text = call.text(0)?;
    Network::parse(text).ok_or_else(|| {
        FunctionError::argument(
            0,
            format!("invalid CIDR expression: invalid CIDR address: {text}"),
        )
    })
}

fn host(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let number = call.integer(1)?;
    let network = network(call)?;
    let too_large = || {
        FunctionError::new(format!(
            "prefix of {} does not accommodate a host numbered {number}",
            network.prefix
        ))
    };
    let highest = network.host_mask();
    let from_end = u128::from(number.unsigned_abs());
    let number = if number < 0 {
        // -1 means the last address.
        highest.checked_sub(from_end - 1).ok_or_else(too_large)?
    } else if from_end > highest {
        return Err(too_large());
    } else {
        from_end
    };
    // For an IPv4 address in IPv6 notation, buildx shifts the number as if the address had 32 bits.
    let number = if network.is_mapped() {
        number
            .checked_shl(96)
            .filter(|shifted| shifted >> 96 == number)
    } else {
        Some(number)
    };
    let address = Network {
        address: network.address | number.ok_or_else(too_large)?,
        ..network
    };
    Ok(address.address_text().into())
}

fn subnet(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let (new_bits, number) = (call.integer(1)?, call.integer(2)?);
    let network = network(call)?;
    if new_bits > LONGEST_EXTENSION {
        return Err(FunctionError::argument(
            1,
            format!("may not extend prefix by more than {LONGEST_EXTENSION} bits"),
        ));
    }
    let prefix = i64::from(network.prefix) + new_bits;
    let Some(prefix) = u32::try_from(prefix)
        .ok()
        .filter(|prefix| *prefix <= network.width)
    else {
        return Err(FunctionError::new(format!(
            "insufficient address space to extend prefix of {} by {new_bits}",
            network.prefix
        )));
    };
    // If the prefix becomes shorter, buildx's highest number wraps around, so that it accepts any number.
    let highest = if new_bits < 0 {
        i64::MAX
    } else {
        (1i64 << new_bits) - 1
    };
    if number < 0 || number > highest {
        return Err(FunctionError::new(format!(
            "prefix extension of {new_bits} does not accommodate a subnet numbered {number}"
        )));
    }
    let number = u128::from(number.unsigned_abs());
    let shifted = number.checked_shl(network.width - prefix).unwrap_or(0);
    let subnet = Network {
        address: network.address | shifted,
        prefix,
        width: network.width,
    };
    Ok(subnet.to_string().into())
}

fn subnets(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let network = network(call)?;
    let mut result = Vec::with_capacity(call.rest(1).len());
    let mut current: Option<Network> = None;
    for place in 1..call.arguments().len() {
        let new_bits = call.integer(place)?;
        if new_bits < 1 {
            return Err(FunctionError::argument(
                place,
                "must extend prefix by at least one bit",
            ));
        }
        if new_bits > LONGEST_EXTENSION {
            return Err(FunctionError::argument(
                place,
                format!("may not extend prefix by more than {LONGEST_EXTENSION} bits"),
            ));
        }
        let prefix = network.prefix + u32::try_from(new_bits).unwrap_or_default();
        if prefix > network.width {
            let protocol = if network.width == 32 { "IPv4" } else { "IPv6" };
            return Err(FunctionError::argument(
                place,
                format!(
                    "would extend prefix to {prefix} bits, which is too long for an {protocol} address"
                ),
            ));
        }
        let next = next_subnet(network, current, prefix).ok_or_else(|| {
            let after = current.unwrap_or(network);
            FunctionError::argument(
                place,
                format!(
                    "not enough remaining address space for a subnet with a prefix of {prefix} bits after {after}"
                ),
            )
        })?;
        result.push(Value::from(next.to_string()));
        current = Some(next);
    }
    Ok(Value::list(Type::String, result))
}

/// The first network with `prefix` bits after `current` and within `network`. `None` if there is none.
fn next_subnet(network: Network, current: Option<Network>, prefix: u32) -> Option<Network> {
    let candidate = Network {
        address: 0,
        prefix,
        width: network.width,
    };
    let address = match current {
        // buildx searches for the subnet after the one before `network`. Before address zero there is none, and
        // with IPv4 in IPv6 notation it does not find one either.
        None if network.address == 0 || network.is_mapped() => return None,
        None => network.address,
        Some(current) => {
            let last = current.address | current.host_mask();
            // The address after the block of `prefix` bits (which may be larger than `current`) that contains the
            // last address.
            (last | candidate.host_mask()).checked_add(1)?
        }
    };
    let fits = (address & network.mask()) == network.address && address & !full_mask(network) == 0;
    fits.then_some(Network {
        address,
        ..candidate
    })
}

fn full_mask(network: Network) -> u128 {
    network.mask() | network.host_mask()
}
