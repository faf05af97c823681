//! Names in a registry: any text that can be read and typed, up to 1,024 bytes.

use std::{borrow::Borrow, fmt};

/// How long a name may be, in bytes of UTF-8.
pub(crate) const NAME_LEN_MAX: usize = 1024;

/// A name that keeps the rules: not empty, at most [`NAME_LEN_MAX`] bytes, no control characters,
/// no white space at either end. Names are compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    /// The name written as `text`, or what is wrong with it and what to do.
    pub(crate) fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if text.is_empty() {
            return Err("a name has at least one character".into());
        }
        if text.len() > NAME_LEN_MAX {
            return Err(format!("it has {} bytes, and a name at most {NAME_LEN_MAX}", text.len()));
        }
        if let Some(control) = text.chars().find(|character| character.is_control()) {
            return Err(format!("leave out the control character U+{:04X}", u32::from(control)));
        }
        if text.trim().len() != text.len() {
            return Err("leave out the white space at its beginning and end".into());
        }
        Ok(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that `text` spells, `%` and two hexadecimal digits standing for a byte.
    pub(crate) fn from_percent_encoded(text: &str) -> Result<Self, String> {
        Self::new(percent_decode(text)?)
    }

    /// The name as it stands in a URL: what would mislead a reader of the URL is percent-encoded.
    pub(crate) fn percent_encoded(&self) -> String {
        let mut encoded = String::with_capacity(self.0.len());
        for character in self.0.chars() {
            if matches!(character, '%' | '?' | '#' | '"' | '<' | '>' | '\\') || character.is_whitespace() {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    encoded.push_str(&format!("%{byte:02X}"));
                }
            } else {
                encoded.push(character);
            }
        }
        encoded
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn percent_decode(text: &str) -> Result<String, String> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (bytes.next().and_then(hex_digit), bytes.next().and_then(hex_digit));
        let (Some(high), Some(low)) = (high, low) else {
            return Err("a % is followed by two hexadecimal digits; write %25 for the character itself".into());
        };
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded).map_err(|_| "its percent-encoded bytes are not UTF-8".into())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_nearly_any_text() {
        for text in ["bank", "a/b/c", "/", "com.example:bank_1", "Гринготтс", "銀行 東京", "a\u{2028}b", "%", "?#"]
        {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
        Name::new("é".repeat(512)).unwrap();
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_what_to_do() {
        for (text, reason) in [
            ("", "a name has at least one character"),
            ("a\nb", "leave out the control character U+000A"),
            ("a\u{7f}", "leave out the control character U+007F"),
            (" a", "leave out the white space at its beginning and end"),
            ("a\u{3000}", "leave out the white space at its beginning and end"),
        ] {
            assert_eq!(Name::new(text).unwrap_err(), reason);
        }
        assert_eq!(Name::new("a".repeat(1025)).unwrap_err(), "it has 1025 bytes, and a name at most 1024");
    }

    #[test]
    fn percent_encoding_is_undone() {
        for (encoded, text) in [("a%20b", "a b"), ("%C3%a9", "é"), ("100%25", "100%"), ("a+b", "a+b"), ("%2F", "/")] {
            assert_eq!(Name::from_percent_encoded(encoded).unwrap().as_str(), text);
        }
    }

    #[test]
    fn broken_percent_encoding_is_refused() {
        for encoded in ["%", "%4", "a%zz", "%+1", "%é", "100%"] {
            assert!(Name::from_percent_encoded(encoded).unwrap_err().contains("%25"), "{encoded}");
        }
        for encoded in ["%ff", "%C3", "%ED%A0%80"] {
            assert!(Name::from_percent_encoded(encoded).unwrap_err().contains("UTF-8"), "{encoded}");
        }
        assert!(Name::from_percent_encoded("a%00").unwrap_err().contains("U+0000"));
        assert!(Name::from_percent_encoded("%20a").unwrap_err().contains("white space"));
    }

    proptest! {
        #[test]
        fn a_name_survives_its_encoding(text in any::<String>()) {
            if let Ok(name) = Name::new(text) {
                prop_assert_eq!(Name::from_percent_encoded(&name.percent_encoded()), Ok(name));
            }
        }

        #[test]
        fn any_text_is_a_name_or_refused(text in "[%0-9a-fA-F é]{0,12}") {
            if let Ok(name) = Name::from_percent_encoded(&text) {
                prop_assert_eq!(Name::new(name.as_str()), Ok(name));
            }
        }
    }
}
