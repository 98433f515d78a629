//! Reading the values that a condition wants.
//!
//! Of `chrono` only the reading of RFC 3339 is used; no clock.

use std::net::IpAddr;

use chrono::DateTime;
use ipnet::{IpNet, Ipv4Net};
use serde_json::Value as Json;

use super::{Invalid, Kind, record::Scalar, shown};

/// One wanted value as it came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    /// In JSON: it says itself what kind it is of.
    Json(&'a Json),
    /// In a URL's query: it is read as what the field needs.
    Text(&'a str),
}

impl<'a> Given<'a> {
    /// A value that a field of this kind can equal; `null` is no value.
    ///
    /// In a query, `null` is that word for a field of texts, and no value for every other.
    ///
    /// # Errors
    ///
    /// What `key` must be.
    pub(super) fn scalar(self, kind: Kind, key: &str) -> Result<Scalar<'static>, Invalid> {
        let is_text = matches!(kind, Kind::Text | Kind::Texts);
        match self {
            Self::Json(Json::Null) => return Ok(Scalar::Null),
            Self::Text("null") if !is_text => return Ok(Scalar::Null),
            _ => {}
        }
        match kind {
            Kind::Text | Kind::Texts => self.text(key).map(|text| Scalar::Text(text.to_owned().into())),
            Kind::Number | Kind::Time => self.whole(kind, key).map(Scalar::Whole),
            Kind::Bool => self.truth().ok_or_else(|| self.refuse(key, "true or false")).map(Scalar::Bool),
            Kind::Address => {
                let address = self.as_text().and_then(|text| text.parse::<IpAddr>().ok());
                let address = address.ok_or_else(|| self.refuse(key, "an IP address"))?;
                Ok(Scalar::Address(address.to_canonical()))
            }
        }
    }

    /// A number, or a time in nanoseconds since 1970.
    ///
    /// # Errors
    ///
    /// What `key` must be.
    pub(super) fn whole(self, kind: Kind, key: &str) -> Result<i128, Invalid> {
        if kind == Kind::Time {
            let time = self.as_text().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            // Rows show milliseconds; a finer bound must still fall between two of them.
            return time
                .map(|time| {
                    let below_milli = i128::from(time.timestamp_subsec_nanos()) % Scalar::NANOS_PER_MILLI;
                    i128::from(time.timestamp_millis()) * Scalar::NANOS_PER_MILLI + below_milli
                })
                .ok_or_else(|| self.refuse(key, "an RFC 3339 time such as 2026-01-31T08:30:00Z"));
        }
        let number = match self {
            Self::Json(Json::Number(number)) => number
                .as_u64()
                .map(i128::from)
                .or_else(|| number.as_i64().map(i128::from))
                .or_else(|| number.as_f64().and_then(whole_of)),
            Self::Json(_) => None,
            Self::Text(text) => {
                text.parse::<i64>().map(i128::from).or_else(|_| text.parse::<u64>().map(i128::from)).ok()
            }
        };
        number.ok_or_else(|| self.refuse(key, "a whole number"))
    }

    /// A network; an address is the network of itself alone.
    ///
    /// # Errors
    ///
    /// What `key` must be.
    pub(super) fn network(self, key: &str) -> Result<IpNet, Invalid> {
        let read = |text: &str| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| address()).ok()
        };
        let network = self.as_text().and_then(read);
        let network =
            network.ok_or_else(|| self.refuse(key, "an IP address or a network such as 10.0.0.0/8"))?;
        Ok(canonical(network))
    }

    /// # Errors
    ///
    /// What `key` must be.
    pub(super) fn text(self, key: &str) -> Result<&'a str, Invalid> {
        self.as_text().ok_or_else(|| self.refuse(key, "a string"))
    }

    fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Json(Json::String(text)) => Some(text),
            Self::Json(_) => None,
            Self::Text(text) => Some(text),
        }
    }

    fn truth(self) -> Option<bool> {
        match self {
            Self::Json(json) => json.as_bool(),
            Self::Text(text) => text.parse().ok(),
        }
    }

    fn refuse(self, key: &str, wanted: &str) -> Invalid {
        let given = match self {
            Self::Json(Json::Array(_)) => "an array".to_owned(),
            Self::Json(Json::Object(_)) => "an object".to_owned(),
            Self::Json(Json::String(text)) => shown(text),
            Self::Json(scalar) => scalar.to_string(),
            Self::Text(text) => shown(text),
        };
        Invalid(format!("{key} must be {wanted}, not {given}"))
    }
}

/// `1e3` and `1000.0` are whole numbers as well; beyond 2^53 a fraction could hide.
fn whole_of(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

/// A network of IPv4 addresses in IPv6 clothes is meant as the one of IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}
