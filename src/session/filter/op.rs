use std::fmt;

use super::{Invalid, Kind, shown};

/// An operator: how a field's value is held against the wanted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equals any of them.
    Eq,
    /// Equals none of them.
    Ne,
    /// Contains any of them.
    Cn,
    /// Starts with any of them.
    Sw,
    /// Ends with any of them.
    Ew,
    /// Is greater than any of them.
    Gt,
    /// Is greater than any of them, or equals it.
    Gte,
    /// Is less than any of them.
    Lt,
    /// Is less than any of them, or equals it.
    Lte,
    /// Has a place that fits any of the regular expressions.
    Rgx,
    /// Equals any of them; in JSON they are always an array.
    In,
    /// Is in any of the networks.
    Cidr,
    /// Fits any of the patterns as a whole.
    Glob,
}

impl Op {
    /// Every operator, in the order the protocol lists them.
    pub(super) const ALL: [Self; 13] = [
        Self::Eq,
        Self::Ne,
        Self::Cn,
        Self::Sw,
        Self::Ew,
        Self::Gt,
        Self::Gte,
        Self::Lt,
        Self::Lte,
        Self::Rgx,
        Self::In,
        Self::Cidr,
        Self::Glob,
    ];

    /// The operator as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Cn => "cn",
            Self::Sw => "sw",
            Self::Ew => "ew",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Rgx => "rgx",
            Self::In => "in",
            Self::Cidr => "cidr",
            Self::Glob => "glob",
        }
    }

    /// Whether the operator makes sense for such values. An address is also the text that rows show.
    pub(super) fn fits(self, kind: Kind) -> bool {
        match self {
            Self::Eq | Self::Ne | Self::In => true,
            Self::Cn | Self::Sw | Self::Ew | Self::Rgx | Self::Glob => {
                matches!(kind, Kind::Text | Kind::Texts | Kind::Address)
            }
            Self::Gt | Self::Gte | Self::Lt | Self::Lte => matches!(kind, Kind::Number | Kind::Time),
            Self::Cidr => kind == Kind::Address,
        }
    }

    /// The operator of a name, for a field of a kind.
    ///
    /// # Errors
    ///
    /// There is none, or it does not fit; those that do are listed.
    pub(super) fn read(name: &str, field: &str, kind: Kind) -> Result<Self, Invalid> {
        let fitting = kind.operators().map(Self::name).collect::<Vec<_>>().join(", ");
        match Self::ALL.into_iter().find(|op| op.name() == name) {
            None => {
                let shown = shown(name);
                Err(Invalid(format!("unknown operator {shown} for {field}, which takes {fitting}")))
            }
            Some(op) if !op.fits(kind) => {
                Err(Invalid(format!("{op} does not fit {field}: {kind} takes {fitting}")))
            }
            Some(op) => Ok(op),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
