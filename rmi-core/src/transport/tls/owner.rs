//! Whose certificate it is.

use rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use crate::principal::Principal;

/// The first of its alternative names, else its common name. That it may be believed was seen before.
pub(super) fn owner(certificate: &CertificateDer<'_>) -> Principal {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Principal::Anonymous };
    let names = certificate.subject_alternative_name().ok().flatten();
    let alternative = names.and_then(|names| names.value.general_names.iter().find_map(text));
    let common = || certificate.subject().iter_common_name().find_map(|name| name.as_str().ok().map(str::to_owned));
    alternative.or_else(common).map_or(Principal::Anonymous, |name| Principal::Certificate(name.into()))
}

/// A name as people write it; `None` for the kinds that nobody does.
fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}
