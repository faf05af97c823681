//! Methods, parameters and types named as the runtime's own, raw identifiers, and no prelude names left.

#![deny(warnings)]
#![allow(non_camel_case_types, dead_code)]

use rmi::{Remote, remote};

struct Option;
struct Arc;
trait Clone {}
trait Send {}

#[remote]
trait Interface: std::marker::Send {
    async fn dispatch(&self, target: u8, call: u8) -> rmi::Result<()>;
    async fn call(&self, method: &str) -> rmi::Result<()>;
    async fn cast(&self, request: String, responder: String) -> rmi::Result<()>;
    async fn from_stub(&self, arguments: Vec<u8>, result: Vec<u8>) -> rmi::Result<()>;
    async fn descriptor(&self) -> rmi::Result<()>;
    async fn encode(&self, value: i64, error: i64) -> rmi::Result<()>;
    async fn decode(&self, answer: i64) -> rmi::Result<()>;
    async fn codec(&self) -> rmi::Result<()>;
    async fn send(&self) -> rmi::Result<()>;
    async fn serve(&self) -> rmi::Result<()>;
    async fn method(&self) -> rmi::Result<()>;
    async fn wrap(&self) -> rmi::Result<()>;
    async fn r#try(&self, r#type: u8) -> rmi::Result<()>;
}

struct Stub;

#[remote]
impl Interface for Stub {
    async fn dispatch(&self, _: u8, _: u8) -> rmi::Result<()> {
        Ok(())
    }
    async fn call(&self, _: &str) -> rmi::Result<()> {
        Ok(())
    }
    async fn cast(&self, _: String, _: String) -> rmi::Result<()> {
        Ok(())
    }
    async fn from_stub(&self, _: Vec<u8>, _: Vec<u8>) -> rmi::Result<()> {
        Ok(())
    }
    async fn descriptor(&self) -> rmi::Result<()> {
        Ok(())
    }
    async fn encode(&self, _: i64, _: i64) -> rmi::Result<()> {
        Ok(())
    }
    async fn decode(&self, _: i64) -> rmi::Result<()> {
        Ok(())
    }
    async fn codec(&self) -> rmi::Result<()> {
        Ok(())
    }
    async fn send(&self) -> rmi::Result<()> {
        Ok(())
    }
    async fn serve(&self) -> rmi::Result<()> {
        Ok(())
    }
    async fn method(&self) -> rmi::Result<()> {
        Ok(())
    }
    async fn wrap(&self) -> rmi::Result<()> {
        Ok(())
    }
    async fn r#try(&self, _: u8) -> rmi::Result<()> {
        Ok(())
    }
}

#[test]
fn is_accepted() {
    let _ = Remote::<dyn Interface>::new(Stub);
}
