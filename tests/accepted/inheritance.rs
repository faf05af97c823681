//! Three levels, a diamond, and supertraits that are there already.

use rmi::{Remote, remote};

mod shapes {
    #[rmi::remote]
    pub trait Named {
        async fn name(&self) -> rmi::Result<String>;
    }
}

#[remote]
trait Colored: shapes::Named + Send {
    async fn color(&self) -> rmi::Result<String>;
}

#[remote]
trait Sized2d: 'static + std::marker::Sync + shapes::Named {
    async fn area(&self) -> rmi::Result<f64>;
}

#[remote]
trait Tile: Colored + Sized2d {}

#[remote]
trait Corner: Tile {
    async fn turn(&self, quarters: u8) -> rmi::Result<()>;
}

struct Stone;

#[remote]
impl shapes::Named for Stone {
    async fn name(&self) -> rmi::Result<String> {
        Ok("stone".to_owned())
    }
}

#[remote]
impl Colored for Stone {
    async fn color(&self) -> rmi::Result<String> {
        Ok("grey".to_owned())
    }
}

#[remote]
impl Sized2d for Stone {
    async fn area(&self) -> rmi::Result<f64> {
        Ok(1.0)
    }
}

#[remote]
impl Tile for Stone {}

#[remote]
impl Corner for Stone {
    async fn turn(&self, _quarters: u8) -> rmi::Result<()> {
        Ok(())
    }
}

#[test]
fn is_accepted() {
    let corner = Remote::<dyn Corner>::new(Stone);
    let colored: Remote<dyn Colored> = Remote::upcast::<dyn Colored>(&corner);
    let _: Remote<dyn shapes::Named> = Remote::upcast::<dyn shapes::Named>(&corner);
    let _: Remote<dyn shapes::Named> = Remote::upcast::<dyn shapes::Named>(&colored);
}
