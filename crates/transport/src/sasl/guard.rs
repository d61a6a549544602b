//! A look at SCRAM messages before rsasl sees them: its parser slices attributes by fixed offsets
//! and panics on one that is shorter than its name.

use crate::scram::{ITERATIONS_MAX, ITERATIONS_MIN};

/// Whether every attribute (RFC 5802 section 5.1) is at least a letter and `=`.
fn has_attributes<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> bool {
    fields
        .into_iter()
        .all(|field| matches!(field, [letter, b'=', ..] if letter.is_ascii_alphabetic()))
}

fn fields(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message.split(|&octet| octet == b',')
}

/// Whether `client-first-message` (RFC 5802 section 7) can be given to rsasl: a flag, an
/// authorization identity or nothing, then attributes.
pub(super) fn is_client_first(message: &[u8]) -> bool {
    let mut rest = fields(message);
    let (Some(flag), Some(authorization), Some(name), Some(nonce)) =
        (rest.next(), rest.next(), rest.next(), rest.next())
    else {
        return false;
    };
    let is_flag = matches!(flag, [b'n' | b'y'] | [b'p', b'=', _, ..]);
    let is_authorization = authorization.is_empty() || authorization.starts_with(b"a=");
    is_flag && is_authorization && has_attributes([name, nonce].into_iter().chain(rest))
}

/// Whether any other SCRAM message can be given to rsasl.
pub(super) fn is_attribute_list(message: &[u8]) -> bool {
    has_attributes(fields(message))
}

/// Whether `server-first-message` asks for an acceptable amount of work; a server could otherwise
/// stop us for hours, or make us send what is easily searched.
pub(super) fn has_fair_iterations(message: &[u8]) -> bool {
    fields(message)
        .find_map(|field| field.strip_prefix(b"i="))
        .and_then(|digits| str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u32>().ok())
        .is_some_and(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&count))
}

/// A `saslname` (RFC 5802 section 5.1) without its escapes.
pub(super) fn unescape(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut parts = name.split('=');
    plain.push_str(parts.next()?);
    for part in parts {
        let (sign, rest) = match part.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_first() {
        for good in [
            "n,,n=user,r=abc",
            "y,a=admin,n=user,r=abc",
            "p=tls-unique,,n=,r=",
            "n,,n=user,r=abc,x=extension",
        ] {
            assert!(is_client_first(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "n",
            "n,",
            ",,",
            "n,x,n=user,r=abc",
            "n,a,n=u,r=a",
            "n,,n,r=abc",
            "n,,,r=abc",
            "n,,n=user,r",
            "n,,n=user,",
            "n,,n=user,r=abc,",
            "p=,,n=u,r=a",
            "x,,n=user,r=abc",
        ] {
            assert!(!is_client_first(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn iterations() {
        assert!(has_fair_iterations(b"r=a,s=AAAA,i=4096"));
        for bad in [
            "r=a,s=AAAA",
            "r=a,i=4095",
            "r=a,i=4294967295",
            "r=a,i=-1",
            "r=a,i=",
        ] {
            assert!(!has_fair_iterations(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(unescape("user").as_deref(), Some("user"));
        assert_eq!(unescape("a=2Cb=3Dc=3D").as_deref(), Some("a,b=c="));
        for bad in ["a=", "a=2", "a=2c", "a=é", "=="] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }
}
