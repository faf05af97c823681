//! What went wrong between two ends of TLS, in words that say what to do.

use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error};

/// What ends a stream of TLS.
pub(super) enum Trouble {
    Tls(Error),
    /// Both speak TLS, and not of rmi.
    OtherProtocol,
    /// The connection ended before the handshake did.
    Ended,
}

impl Trouble {
    pub(super) fn as_io(&self) -> io::Error {
        match self {
            Self::Tls(error) => io::Error::new(ErrorKind::InvalidData, error.clone()),
            Self::OtherProtocol => io::Error::new(ErrorKind::InvalidData, "another protocol"),
            Self::Ended => io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed"),
        }
    }

    /// `peer` as a reader knows it.
    pub(super) fn explain(&self, peer: &str) -> String {
        match self {
            Self::Tls(Error::InvalidCertificate(error)) => explain_certificate(peer, error),
            Self::Tls(Error::NoCertificatesPresented) => {
                format!("{peer} shows no certificate, and this node asks each client for one: give it an identity")
            }
            Self::Tls(Error::InvalidCertRevocationList(error)) => {
                format!("a list of revoked certificates cannot be used for {peer}: {error:?}")
            }
            Self::Tls(Error::AlertReceived(alert)) => explain_alert(peer, *alert),
            Self::Tls(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => {
                format!("{peer} speaks no TLS: is it tcp:// there?")
            }
            Self::Tls(Error::NoApplicationProtocol) | Self::OtherProtocol => {
                format!("{peer} speaks TLS, but not rmi's protocol: is it the right port?")
            }
            Self::Tls(error) => format!("no TLS with {peer}: {error}"),
            Self::Ended => format!("{peer} closed the connection in the middle of the TLS handshake"),
        }
    }
}

fn explain_certificate(peer: &str, error: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName,
        NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked, UnknownIssuer, UnknownRevocationStatus,
    };
    match error {
        Expired | ExpiredContext { .. } => format!("the certificate of {peer} has expired: have it renewed"),
        NotValidYet | NotValidYetContext { .. } => {
            format!("the certificate of {peer} is not valid yet: compare the clocks of both hosts")
        }
        UnknownIssuer | BadSignature => {
            format!(
                "the certificate of {peer} is signed by nobody whom this node believes: name its authority as a root"
            )
        }
        NotValidForName => format!("the certificate of {peer} is for another name"),
        NotValidForNameContext { presented, .. } => {
            // They come as `DnsName("bank.example")`.
            let bare = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name));
            let names = bare.collect::<Vec<_>>().join(", ");
            format!("the certificate of {peer} is for another name: it is for {names}; dial it by one of these")
        }
        Revoked => format!("the certificate of {peer} has been revoked"),
        UnknownRevocationStatus => {
            format!("no list of revoked certificates covers the certificate of {peer}: add that of its authority")
        }
        InvalidPurpose | InvalidPurposeContext { .. } => {
            format!("the certificate of {peer} is not for this use: it is one for servers, or one for clients only")
        }
        error => format!("the certificate of {peer} is not believed: {error}"),
    }
}

fn explain_alert(peer: &str, alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateRequired => "it asks for a certificate: give this node an identity",
        AlertDescription::CertificateExpired => "this node's certificate has expired, or is not valid yet",
        AlertDescription::CertificateRevoked => "this node's certificate has been revoked",
        AlertDescription::UnknownCA => "it does not believe who signed this node's certificate",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it does not believe this node's certificate",
        AlertDescription::NoApplicationProtocol => "it speaks TLS, but not rmi's protocol: is it the right port?",
        AlertDescription::ProtocolVersion => "it speaks no version of TLS that this node does",
        other => return format!("{peer} refuses this node: TLS alert {other:?}"),
    };
    format!("{peer} refuses this node: {why}")
}
