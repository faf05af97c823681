//! The tokens that a node shows, each to whom it is meant for.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    endpoint::{Endpoint, EndpointError},
    error::{Certainty, ErrorKind, RemoteError},
    wire::TOKEN_LEN_MAX,
};

type Source = Arc<dyn Fn() -> Bytes + Send + Sync>;

/// What a token comes from, at each dial.
#[derive(Clone)]
pub(crate) struct TokenSource(pub(crate) Source);

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource(..)")
    }
}

/// A token is shown to the nodes that it is for, and to no other: who passes a reference on chooses where its receiver
/// dials.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Vec<(Place, Source)>);

/// Where nodes listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    endpoint: Endpoint,
    any_port: bool,
}

impl Place {
    /// `tls://host:port`, or `tls://host` for all ports.
    pub(crate) fn parse(place: &str) -> Result<Self, PlaceError> {
        let after_brackets = place.rsplit(['/', ']']).next().unwrap_or(place);
        let any_port =
            matches!(place.parse::<Endpoint>(), Err(EndpointError::Port { .. })) && !after_brackets.contains(':');
        let endpoint = if any_port { format!("{place}:0").parse()? } else { place.parse()? };
        if let Endpoint::Tcp { host, .. } = &endpoint
            && !matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1")
        {
            return Err(PlaceError::Readable(endpoint));
        }
        Ok(Self { endpoint, any_port })
    }

    fn is(&self, dialled: &Endpoint) -> bool {
        match (&self.endpoint, dialled) {
            (Endpoint::Tcp { host, .. }, Endpoint::Tcp { host: dialled, .. })
            | (Endpoint::Tls { host, .. }, Endpoint::Tls { host: dialled, .. })
                if self.any_port =>
            {
                host == dialled
            }
            (place, dialled) => place == dialled,
        }
    }
}

/// Why a token cannot be for a place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("a token for {0} could be read by all between: write tls://, or tcp:// of the loopback address")]
    Readable(Endpoint),
}

impl Tokens {
    pub(crate) fn add(&mut self, place: Place, token: Source) {
        self.0.push((place, token));
    }

    /// The token for who listens there.
    ///
    /// # Errors
    ///
    /// Where it is longer than tokens are.
    pub(crate) fn of(&self, dialled: &Endpoint) -> Result<Option<Bytes>, RemoteError> {
        let Some((_, source)) = self.0.iter().find(|(place, _)| place.is(dialled)) else { return Ok(None) };
        let token = source();
        if token.len() > TOKEN_LEN_MAX {
            let message = format!("the token for {dialled} has {} bytes, and may have {TOKEN_LEN_MAX}", token.len());
            return Err(RemoteError::new(ErrorKind::TooLarge, message).with_certainty(Certainty::NotSent));
        }
        Ok(Some(token))
    }
}

/// Not the tokens, which are secrets.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(place, _)| &place.endpoint)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(place: &str) -> Tokens {
        let mut tokens = Tokens::default();
        tokens.add(Place::parse(place).unwrap(), Arc::new(|| Bytes::from_static(b"secret")));
        tokens
    }

    #[test]
    fn a_token_is_shown_where_it_is_meant_to_be_and_nowhere_else() {
        for (place, shown, not_shown) in [
            ("tls://bank.example", "tls://bank.example:7", "tls://other.example:7"),
            ("tls://bank.example", "tls://bank.example:8", "tcp://bank.example:8"),
            ("tls://bank.example:7", "tls://bank.example:7", "tls://bank.example:8"),
            ("tcp://127.0.0.1", "tcp://127.0.0.1:9", "tcp://127.0.0.2:9"),
            ("mem://bank", "mem://bank", "mem://other"),
            ("unix:///run/bank.sock", "unix:///run/bank.sock", "unix:///run/other.sock"),
        ] {
            let of = |dialled: &str| tokens(place).of(&dialled.parse().unwrap()).unwrap();
            assert_eq!(of(shown).as_deref(), Some(&b"secret"[..]), "{place} {shown}");
            assert_eq!(of(not_shown), None, "{place} {not_shown}");
        }
    }

    #[test]
    fn a_token_that_others_could_read_is_refused() {
        let told = |place| Place::parse(place).unwrap_err().to_string();
        assert!(told("tcp://bank.example:7").contains("write tls://"), "{}", told("tcp://bank.example:7"));
        assert!(told("tcp://10.0.0.7").contains("could be read by all between"));
        assert!(told("bank.example").contains("bank.example"));
    }

    #[test]
    fn a_token_that_is_too_long_is_not_sent() {
        let mut tokens = Tokens::default();
        tokens.add(Place::parse("mem://bank").unwrap(), Arc::new(|| vec![0; TOKEN_LEN_MAX + 1].into()));
        let error = tokens.of(&"mem://bank".parse().unwrap()).unwrap_err();
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::TooLarge, Certainty::NotSent));
    }
}
