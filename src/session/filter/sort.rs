use std::cmp::Ordering;

use super::{
    Field, Invalid, Kind, Record,
    record::{Scalar, find},
    shown,
};

/// An order of records: `asc(field)` or `desc(field)`.
///
/// Texts go by their code points, so `Z` is before `a`; addresses by their number, IPv4 first. Records without
/// a value come last, and records of equal value by their id, both in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortBy<F> {
    field: F,
    descending: bool,
}

impl<F: Field> SortBy<F> {
    /// Reads an order; a list has none.
    ///
    /// # Errors
    ///
    /// What is not understood, and what would be.
    pub fn read(text: &str) -> Result<Self, Invalid> {
        let read = || {
            let (direction, rest) = text.trim().split_once('(')?;
            let descending = match direction {
                "asc" => false,
                "desc" => true,
                _ => return None,
            };
            Some((descending, rest.strip_suffix(')')?.trim()))
        };
        let Some((descending, name)) = read() else {
            let message = format!("sortBy must be asc(field) or desc(field), not {}", shown(text));
            return Err(Invalid(message));
        };
        let (field, _, _) = find(name, "sortBy", |kind| kind != Kind::Texts)?;
        Ok(Self { field, descending })
    }

    /// What it goes by, before the id.
    pub fn field(&self) -> F {
        self.field
    }

    /// Which of two records comes first.
    pub fn compare<R: Record<Field = F>>(&self, a: &R, b: &R) -> Ordering {
        let [value_a, value_b] =
            [a, b].map(|record| record.value(self.field).scalar().unwrap_or(Scalar::Null));
        let is_null = |value: &Scalar<'_>| *value == Scalar::Null;
        let by_presence = is_null(&value_a).cmp(&is_null(&value_b));
        let by_value = if self.descending { value_b.cmp(&value_a) } else { value_a.cmp(&value_b) };
        by_presence.then(by_value).then_with(|| a.id().cmp(b.id()))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{Column, Row, row},
        *,
    };

    #[track_caller]
    fn check(sort_by: &str, rows: &[Row], expected: &str) {
        let order = SortBy::<Column>::read(sort_by).unwrap();
        for rotated in 0..rows.len() {
            let mut rows = rows.to_vec();
            rows.rotate_left(rotated);
            rows.sort_by(|a, b| order.compare(a, b));
            let ids: Vec<_> = rows.iter().map(|row| &*row.id).collect();
            assert_eq!(ids.join(" "), expected, "{sort_by}, rotated by {rotated}");
        }
    }

    #[test]
    fn records_go_by_their_value_then_by_id_and_those_without_come_last() {
        let with = |id: &str, change: &dyn Fn(&mut Row)| {
            let mut row = row(id);
            change(&mut row);
            row
        };
        let bytes = [("b", Some(10)), ("a", Some(9)), ("d", None), ("c", Some(9)), ("e", Some(u64::MAX))]
            .map(|(id, bytes)| with(id, &|row| row.bytes = bytes));
        check("asc(bytes)", &bytes, "a c b e d");
        check(" desc( bytes )", &bytes, "e b a c d");
        check("desc(id)", &bytes, "e d c b a");
        let names = [("a", "b"), ("b", "Z"), ("c", "a"), ("d", "é"), ("e", "")]
            .map(|(id, name)| with(id, &|row| row.name = Some(name.to_owned())));
        check("asc(name)", &names, "e b c a d");
        let addresses = [("a", "10.0.0.10"), ("b", "::1"), ("c", "10.0.0.9"), ("d", "::ffff:10.0.0.1")]
            .map(|(id, address)| with(id, &|row| row.address = address.parse().ok()));
        check("asc(address)", &addresses, "d c a b");
        let ended = [("a", Some(5)), ("b", Some(-5)), ("c", None)]
            .map(|(id, ended)| with(id, &|row| row.ended = ended));
        check("asc(ended)", &ended, "b a c");
        check("desc(ended)", &ended, "a b c");
        let authorized = [("a", Some(true)), ("b", None), ("c", Some(false))]
            .map(|(id, authorized)| with(id, &|row| row.authorized = authorized));
        check("asc(authorized)", &authorized, "c a b");
    }

    #[test]
    fn an_order_that_is_none_says_what_would_be() {
        let fails = |sort_by: &str| SortBy::<Column>::read(sort_by).unwrap_err().to_string();
        let known = "known: id, name, bytes, authorized, address, ended";
        for wrong in ["", "name", "asc", "asc(name", "up(name)", "ASC(name)", "-name"] {
            let expected = format!("sortBy must be asc(field) or desc(field), not {wrong:?}");
            assert_eq!(fails(wrong), expected);
        }
        assert_eq!(fails("asc(nme)"), format!("unknown field \"nme\" in sortBy; {known}"));
        assert_eq!(fails("asc(pages)"), format!("unknown field \"pages\" in sortBy; {known}"));
        assert_eq!(fails("asc(Name)"), "unknown field \"Name\" in sortBy: it is written name");
    }
}
