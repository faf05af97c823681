//! Calls that pass through nodes which do not know their types, to objects whose node listens nowhere.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use rmi::{Certainty, DialPolicy, ErrorKind, Node, RelayPolicy, Remote, remote};

use crate::common::{
    Counter, Keeper, Log, Pages, Shelf, Tally, at_rest, client, counter, dropped, failure, hand_over, mem, node, pass,
    serve, shelf, soon, transports, until,
};

/// A counter of a node that listens nowhere, kept on a shelf of the node in the middle.
async fn behind(middle: &Node, owner: &Node, counter: &Remote<dyn Counter>) -> Remote<dyn Shelf> {
    let shelf = shelf();
    let to_put = serve(middle, owner, &shelf);
    soon(to_put.put(counter.clone())).await.unwrap();
    shelf
}

#[tokio::test]
async fn calls_references_and_lifetimes_pass_through_a_node_in_the_middle() {
    for listen in transports() {
        let (middle, owner, caller) = (node(&listen).await, client().await, client().await);
        let (object, life) = Tally::mortal();
        let kept = behind(&middle, &owner, &object).await;
        drop(object);
        let relayed = soon(serve(&middle, &caller, &kept).get()).await.unwrap().unwrap();
        assert_eq!(Remote::node_id(&relayed), Some(owner.id()));
        assert_eq!(soon(relayed.add(2)).await.unwrap(), 2);
        // The middle lets go; the caller's reference keeps the object, through the middle.
        soon(kept.clear()).await.unwrap();
        assert_eq!(soon(relayed.add(3)).await.unwrap(), 5);
        assert_eq!(life.strong_count(), 1);
        drop(relayed);
        dropped(&life).await;
        drop(kept);
        until("the middle holds nothing", || middle.stats().imported_references == 0).await;
        at_rest(&[&owner, &caller]).await;
    }
}

#[tokio::test]
async fn references_inside_relayed_calls_and_results_arrive_as_what_they_are() {
    let (middle, owner, caller) = (node(&mem()).await, client().await, client().await);
    // A shelf of the owner, reached through the middle.
    let far = shelf();
    let on_middle = Remote::<dyn Passage>::new(Way::default());
    soon(serve(&middle, &owner, &on_middle).leave(far.clone())).await.unwrap();
    let relayed = soon(serve(&middle, &caller, &on_middle).take()).await.unwrap().unwrap();

    // The caller's own object goes there by reference, is called back from there, and comes home.
    let (mine, life) = Tally::mortal();
    soon(relayed.put(mine.clone())).await.unwrap();
    assert_eq!(soon(relayed.add(4)).await.unwrap(), 4);
    let home = soon(relayed.get()).await.unwrap().unwrap();
    assert!(Remote::is_local(&home) && home == mine, "it is the object itself again");
    drop((mine, home));
    assert_eq!(life.strong_count(), 1, "the far shelf holds it");
    soon(relayed.clear()).await.unwrap();
    dropped(&life).await;

    // What the owner makes is held through the middle, and goes when the caller drops it.
    let made = soon(relayed.make()).await.unwrap();
    assert_eq!(soon(made.add(1)).await.unwrap(), 1);
    assert!(soon(relayed.owns(made.clone())).await.unwrap(), "it comes home to its owner");
    drop((made, relayed));
    soon(on_middle.clear()).await.unwrap();
    drop(on_middle);
    until("nothing passes through the middle", || middle.stats().imported_references == 0).await;
    drop(far);
    at_rest(&[&owner, &caller]).await;
}

/// Keeps a shelf for whoever comes.
#[remote]
trait Passage {
    async fn leave(&self, shelf: Remote<dyn Shelf>) -> rmi::Result<()>;
    async fn take(&self) -> rmi::Result<Option<Remote<dyn Shelf>>>;
    async fn clear(&self) -> rmi::Result<()>;
}

#[derive(Default)]
struct Way(Mutex<Option<Remote<dyn Shelf>>>);

#[remote]
impl Passage for Way {
    async fn leave(&self, shelf: Remote<dyn Shelf>) -> rmi::Result<()> {
        *self.0.lock() = Some(shelf);
        Ok(())
    }
    async fn take(&self) -> rmi::Result<Option<Remote<dyn Shelf>>> {
        Ok(self.0.lock().clone())
    }
    async fn clear(&self) -> rmi::Result<()> {
        let kept = self.0.lock().take();
        drop(kept);
        Ok(())
    }
}

#[tokio::test]
async fn a_chain_of_nodes_that_comes_back_to_the_owner_is_the_object_itself() {
    // The owner listens nowhere; B, C and D each got the reference from the one before.
    let (b, c, d, owner) = (node(&mem()).await, node(&mem()).await, node(&mem()).await, client().await);
    let (object, life) = Tally::mortal();
    let at_b = behind(&b, &owner, &object).await;
    let held_by_c = soon(serve(&b, &c, &at_b).get()).await.unwrap().unwrap();
    let held_by_d = hand_over(&c, &d, &held_by_c).await;
    assert_eq!(soon(held_by_d.add(1)).await.unwrap(), 1, "two nodes pass it on");
    let home = hand_over(&d, &owner, &held_by_d).await;
    assert!(Remote::is_local(&home) && home == object);
    // From D to B: the way from there would lead back through B, which has it itself.
    let back_at_b = hand_over(&d, &b, &held_by_d).await;
    assert_eq!(soon(back_at_b.add(1)).await.unwrap(), 2);
    drop((home, object, held_by_c, held_by_d));
    soon(at_b.clear()).await.unwrap();
    assert_eq!(life.strong_count(), 1, "B holds it still");
    assert_eq!(soon(back_at_b.add(1)).await.unwrap(), 3);
    drop((back_at_b, at_b));
    dropped(&life).await;
    until("B lets go", || b.stats().imported_references == 0).await;
    at_rest(&[&owner, &c, &d]).await;
}

#[tokio::test]
async fn two_nodes_that_relay_to_each_other_leave_no_garbage() {
    let (b, c, owner) = (node(&mem()).await, node(&mem()).await, client().await);
    let (first, first_life) = Tally::mortal();
    let (second, second_life) = Tally::mortal();
    // One object is held by B, through which C holds it; the other the other way around.
    let (at_b, at_c) = (behind(&b, &owner, &first).await, behind(&c, &owner, &second).await);
    drop((first, second));
    let first_at_c = soon(serve(&b, &c, &at_b).get()).await.unwrap().unwrap();
    let second_at_b = soon(serve(&c, &b, &at_c).get()).await.unwrap().unwrap();
    for round in 1..=3 {
        // Round and round, from one to the other and back.
        let first_at_b = hand_over(&c, &b, &first_at_c).await;
        let second_at_c = hand_over(&b, &c, &second_at_b).await;
        assert_eq!(soon(first_at_b.add(1)).await.unwrap(), 2 * round - 1);
        assert_eq!(soon(first_at_c.add(1)).await.unwrap(), 2 * round);
        assert_eq!(soon(second_at_c.add(1)).await.unwrap(), 2 * round - 1);
        assert_eq!(soon(second_at_b.add(1)).await.unwrap(), 2 * round);
    }
    soon(at_b.clear()).await.unwrap();
    soon(at_c.clear()).await.unwrap();
    drop((first_at_c, second_at_b, at_b, at_c));
    dropped(&first_life).await;
    dropped(&second_life).await;
    until("both let go", || b.stats().imported_references + c.stats().imported_references == 0).await;
    at_rest(&[&owner]).await;
}

#[tokio::test]
async fn a_cancel_and_a_deadline_reach_the_owner_through_the_relay() {
    let (middle, owner, caller) = (node(&mem()).await, client().await, client().await);
    let keeper = Keeper::shut();
    // The owner gives its gate to the middle by way of a door.
    let door = Remote::<dyn GateShelf>::new(Gates::default());
    soon(serve(&middle, &owner, &door).put(keeper.gate())).await.unwrap();
    let gate = soon(serve(&middle, &caller, &door).get()).await.unwrap();
    let waiting = pass(&gate);
    keeper.holds(1).await;
    waiting.abort();
    keeper.holds(0).await;
    until("nobody waits for an answer", || {
        [&middle, &owner, &caller].iter().all(|node| node.stats().calls_in_flight == 0)
    })
    .await;
    let hasty = Remote::with(&gate, rmi::CallOptions::new().timeout(std::time::Duration::from_millis(50)));
    let error = failure(soon(hasty.pass()).await, "Gate.pass");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    keeper.holds(0).await;
}

#[remote]
trait GateShelf {
    async fn put(&self, gate: Remote<dyn crate::common::Gate>) -> rmi::Result<()>;
    async fn get(&self) -> rmi::Result<Remote<dyn crate::common::Gate>>;
}

#[derive(Default)]
struct Gates(Mutex<Option<Remote<dyn crate::common::Gate>>>);

#[remote]
impl GateShelf for Gates {
    async fn put(&self, gate: Remote<dyn crate::common::Gate>) -> rmi::Result<()> {
        *self.0.lock() = Some(gate);
        Ok(())
    }
    async fn get(&self) -> rmi::Result<Remote<dyn crate::common::Gate>> {
        Ok(self.0.lock().clone().expect("a gate was put here"))
    }
}

#[tokio::test]
async fn a_node_that_does_not_relay_says_so() {
    let middle = Node::builder().listen(mem()).relay_policy(RelayPolicy::never()).start().await.unwrap();
    let (owner, caller) = (client().await, client().await);
    let kept = behind(&middle, &owner, &counter()).await;
    let got = soon(serve(&middle, &caller, &kept).get()).await.unwrap().unwrap();
    let error = failure(soon(got.add(1)).await, "Counter.add");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unreachable, Certainty::NotSent), "{error}");
    assert!(error.message().contains("relays no calls"), "{error}");
}

#[tokio::test]
async fn holders_behind_a_relay_hear_that_the_owner_is_gone() {
    let (middle, owner, caller) = (node(&mem()).await, client().await, client().await);
    let kept = behind(&middle, &owner, &counter()).await;
    let relayed = soon(serve(&middle, &caller, &kept).get()).await.unwrap().unwrap();
    assert_eq!(soon(relayed.add(1)).await.unwrap(), 1);
    let broken = tokio::spawn(Remote::broken(&relayed));
    owner.shutdown().await;
    let error = soon(broken).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::NoSuchObject, "{error}");
    let error = failure(soon(relayed.add(1)).await, "Counter.add");
    assert_eq!(error.certainty(), Certainty::NotExecuted, "{error}");
}

#[tokio::test(start_paused = true)]
async fn calls_keep_their_order_when_the_direct_way_takes_over() {
    // The caller may not dial the owner at first, and so goes by the middle.
    let may_dial = Arc::new(AtomicBool::new(false));
    let owner_at = mem();
    let owner = node(&owner_at).await;
    let middle = Node::builder().listen(mem()).relay_policy(RelayPolicy::all()).start().await.unwrap();
    let blocked = Blocked { name: owner_at.clone(), open: may_dial.clone() };
    let caller = Node::builder().transport(blocked).dial_policy(DialPolicy::all()).start().await.unwrap();
    let log = Remote::<dyn Log>::new(Pages::default());
    let through = hand_over(&middle, &caller, &hand_over(&owner, &middle, &log).await).await;
    for number in 0..100 {
        soon(through.note(number)).await.unwrap();
        if number == 20 {
            assert_eq!(owner.stats().connections, 1, "only the middle has dialled the owner");
            may_dial.store(true, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_secs(11)).await;
        }
        if number % 10 == 9 {
            // Many at once: they begin in the order in which they are made, whatever way they take.
            let burst: Vec<_> = (0..10).map(|part| through.note(1000 * number + part)).collect();
            for noted in soon(futures_util::future::join_all(burst)).await {
                noted.unwrap();
            }
        }
    }
    assert_eq!(owner.stats().connections, 2, "the caller has taken the direct way");
    let pages = soon(through.read()).await.unwrap();
    let single: Vec<_> = pages.iter().copied().filter(|number| *number < 1000).collect();
    assert!(single.is_sorted(), "{single:?}");
    let bursts: Vec<_> = pages.iter().copied().filter(|number| *number >= 1000).collect();
    assert!(bursts.is_sorted() && bursts.len() == 100, "{bursts:?}");
}

/// The in-process transport, to which one name is closed for a while.
#[derive(Debug)]
struct Blocked {
    name: String,
    open: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl rmi::transport::Transport for Blocked {
    fn scheme(&self) -> &'static str {
        "mem"
    }
    async fn listen(&self, at: &rmi::Endpoint) -> std::io::Result<Box<dyn rmi::transport::Listener>> {
        rmi::transport::MemoryTransport.listen(at).await
    }
    async fn dial(&self, to: &rmi::Endpoint) -> std::io::Result<Arc<dyn rmi::transport::Socket>> {
        if to.to_string() == self.name && !self.open.load(Ordering::SeqCst) {
            return Err(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "closed to this node"));
        }
        rmi::transport::MemoryTransport.dial(to).await
    }
}
