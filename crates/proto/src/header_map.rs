//! Fields from and to `http::HeaderMap`, duplicates kept.

use http::header::{HeaderMap, HeaderName, HeaderValue, MaxSizeReached};

use crate::error::InvalidField;
use crate::fields::Fields;
use crate::known::Known;

/// Names become lower case and lines of one name move together; the order among those is kept. Fails only beyond the
/// map's own bound of 32,768 names.
impl TryFrom<&Fields> for HeaderMap {
    type Error = MaxSizeReached;

    fn try_from(fields: &Fields) -> Result<Self, MaxSizeReached> {
        let mut map = Self::new();
        fields.append_to(&mut map)?;
        Ok(map)
    }
}

/// Known names get the registry's spelling, others stay lower case. Fails with [`InvalidField::Name`] on the one byte,
/// `"`, that a [`HeaderName`] read from HTTP/2 may hold and a token may not.
impl TryFrom<&HeaderMap> for Fields {
    type Error = InvalidField;

    fn try_from(map: &HeaderMap) -> Result<Self, InvalidField> {
        let bytes: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        // Whoever sends them adds a line or two.
        let mut fields = Self::with_capacity(map.len() + 2, bytes + 64);
        fields.push_all(map)?;
        Ok(fields)
    }
}

impl Fields {
    /// Appends all lines to a map, as [`HeaderMap::try_from`] does, where it stands.
    ///
    /// # Errors
    /// Only beyond the map's own bound of 32,768 names; lines before that are there then.
    pub fn append_to(&self, map: &mut HeaderMap) -> Result<(), MaxSizeReached> {
        map.try_reserve(self.len())?;
        for field in self.iter() {
            let name = match field.known() {
                Some(known) => known.header_name(),
                None => HeaderName::from_bytes(field.name_bytes()).expect("field names are tokens"),
            };
            let value = HeaderValue::from_bytes(field.value()).expect("field values can be sent");
            map.try_append(name, value)?;
        }
        Ok(())
    }

    /// Appends all lines of a map. Known names get the registry's spelling, others stay lower case.
    ///
    /// # Errors
    /// [`InvalidField::Name`] on the one byte, `"`, that a [`HeaderName`] read from HTTP/2 may hold and a token may not;
    /// lines before it are there then.
    pub fn push_all(&mut self, map: &HeaderMap) -> Result<(), InvalidField> {
        for (name, value) in map {
            match Known::from_bytes(name.as_str().as_bytes()) {
                // What a map holds has been looked at.
                Some(known) => self.push_text(known, [value.into()])?,
                None => self.push_named(name.as_str(), value.as_bytes())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut fields = Fields::new();
        fields.push_named("set-cookie", b"a=1").unwrap();
        fields.push_named("X-Other", b"\xe4").unwrap();
        fields.push(Known::SetCookie, b"b=2").unwrap();
        let map = HeaderMap::try_from(&fields).unwrap();
        assert_eq!(map.len(), 3);
        assert_eq!(map.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(map["x-other"], HeaderValue::from_bytes(b"\xe4").unwrap());

        let back = Fields::try_from(&map).unwrap();
        let lines: Vec<_> = back.iter().map(|field| (field.name(), field.value(), field.known())).collect();
        let cookie = Some(Known::SetCookie);
        let expected =
            [("Set-Cookie", &b"a=1"[..], cookie), ("Set-Cookie", b"b=2", cookie), ("x-other", b"\xe4", None)];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_name_that_is_no_token_in_http1_is_refused() {
        let mut map = HeaderMap::new();
        map.insert(HeaderName::from_lowercase(b"a\"b").unwrap(), HeaderValue::from_static("c"));
        assert_eq!(Fields::try_from(&map), Err(InvalidField::Name));
    }
}
