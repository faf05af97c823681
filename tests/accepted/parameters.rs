//! Owned and borrowed parameters, bytes, named lifetimes, and types out of a macro.

#![deny(warnings)]
#![forbid(unsafe_code)]

use std::{borrow::Cow, collections::HashMap};

use rmi::{Remote, remote};

macro_rules! interface {
    ($argument:ty, $borrowed:ty, $result:ty) => {
        #[remote(name = "com.example.Parameters")]
        trait Parameters {
            async fn none(&self) -> rmi::Result<()>;
            async fn many(&self, a: u8, b: i128, c: (bool, char), d: [u8; 4], e: Option<Box<str>>) -> rmi::Result<()>;
            async fn strings(&self, a: &str, b: Option<&str>, c: Cow<'_, str>, d: &String, e: &&str)
            -> rmi::Result<()>;
            async fn slices(&self, a: &[u64], b: &[String], c: &HashMap<String, Vec<u8>>) -> rmi::Result<()>;
            async fn bytes(&self, a: Vec<u8>, b: &[u8], c: &Vec<u8>, d: bytes::Bytes) -> rmi::Result<bytes::Bytes>;
            async fn lifetimes<'a, 'b: 'a>(&'a self, a: &'a str, b: Option<&'b str>) -> rmi::Result<Vec<u8>>;
            async fn references(&self, a: Remote<dyn Parameters>, b: &[Remote<dyn Parameters>]) -> rmi::Result<()>;
            async fn grouped(&self, a: $argument, b: $borrowed, c: (u8)) -> $result;
        }
    };
}

#[allow(unused_parens)]
mod inside {
    use super::*;
    interface!(Vec<u8>, &str, Result<(), rmi::RemoteError>);

    pub(super) fn is_an_interface() {
        let _: fn(Remote<dyn Parameters>) = drop;
    }
}

#[test]
fn is_accepted() {
    inside::is_an_interface();
}
