//! Calls that leave together because their caller says so.

use std::{future::poll_fn, pin::pin};

use super::Node;
use crate::connection::Gathering;

impl Node {
    /// Lets the calls of this future leave together. Those that it makes in one poll gather, and are written
    /// to each link at once when the poll ends; so they do not wait for each other, nor for their answers.
    /// Its result is that of the future.
    ///
    /// ```
    /// # use futures_util::future::try_join_all;
    /// # use rmi_core::Node;
    /// # async fn read(node: &Node, value: impl AsyncFn(u32) -> rmi_core::Result<f64>) -> rmi_core::Result<Vec<f64>> {
    /// // A hundred calls, one write.
    /// let values = node.batch(try_join_all((0..100).map(|of| value(of)))).await?;
    /// # Ok(values)
    /// # }
    /// ```
    ///
    /// It is rarely needed: calls of many tasks gather by themselves. It helps one task that makes many calls
    /// before it waits for any, most of all `oneway` ones. A call that is awaited inside leaves at once, with what
    /// gathered before it. Only what the future itself polls belongs to the batch: not what it spawns, nor calls
    /// that are local. Large arguments go as they always do, behind the small ones. Other calls over the same link
    /// wait for nothing, and may take some of the batch along.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future, and with it the calls that it awaits.
    pub async fn batch<F: Future>(&self, calls: F) -> F::Output {
        let mut calls = pin!(calls);
        poll_fn(|cx| {
            let _gathering = Gathering::begin();
            calls.as_mut().poll(cx)
        })
        .await
    }
}
