//! What references lead to, and that they stay the same on every way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use rmi::{AnyRemote, ErrorKind, Node, Remote, RemoteError, remote};
use serde::{Deserialize, Serialize};

use crate::common::{
    Counter, Door, Shelf, Tally, at_rest, beside, client, counter, dropped, gone, hand_over, mem, node, serve, shelf,
    soon, stay_awake, transports, until,
};

#[tokio::test]
async fn a_reference_that_comes_home_is_the_object_itself() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let shelf = serve(&server, &client, &shelf());
        let mine = counter();
        assert!(!soon(shelf.owns(mine.clone())).await.unwrap(), "the server has a stub of it");
        soon(shelf.put(mine.clone())).await.unwrap();
        let home = soon(shelf.get()).await.unwrap().unwrap();
        assert!(Remote::is_local(&home));
        assert!(std::ptr::eq(Remote::as_local(&home).unwrap().as_ref(), Remote::as_local(&mine).unwrap().as_ref()));
        let theirs = soon(shelf.make()).await.unwrap();
        assert!(!Remote::is_local(&theirs) && Remote::as_local(&theirs).is_none());
        assert!(soon(shelf.owns(theirs.clone())).await.unwrap(), "the server has the object itself");
        assert_eq!(Remote::node_id(&theirs), Some(server.id()));
        assert_eq!(Remote::node_id(&mine), Some(client.id()));
        soon(shelf.clear()).await.unwrap();
        drop((mine, theirs, home));
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn a_reference_comes_home_through_a_third_node() {
    for listen in transports() {
        let (owner, middle) = (node(&listen).await, node(&beside(&listen)).await);
        let mine = counter();
        let held = hand_over(&owner, &middle, &mine).await;
        // The owner asks the middle for it, over a link that it dialled itself.
        let home = hand_over(&middle, &owner, &held).await;
        assert!(Remote::is_local(&home));
        assert_eq!(home, mine);
        drop((held, home, mine));
        at_rest(&[&owner, &middle]).await;
    }
}

#[tokio::test]
async fn a_server_calls_back_over_the_connection_of_a_client_that_listens_nowhere() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let shelf = serve(&server, &client, &shelf());
        let mine = counter();
        soon(shelf.put(mine.clone())).await.unwrap();
        assert_eq!(soon(shelf.add(5)).await.unwrap(), 5);
        assert_eq!(mine.total().await.unwrap(), 5);
        assert_eq!(server.stats().connections, 1);
    }
}

#[tokio::test]
async fn an_object_of_a_third_node_is_held_through_its_giver_until_it_is_called() {
    for listen in transports() {
        let (owner, giver, caller) = (node(&listen).await, node(&beside(&listen)).await, client().await);
        let (object, life) = Tally::mortal();
        let given = hand_over(&owner, &giver, &object).await;
        drop(object);
        let taken = hand_over(&giver, &caller, &given).await;
        drop(given);
        assert_eq!(taken, taken.clone());
        // The caller has not dialled the owner: its giver holds the object for it.
        assert_eq!(caller.stats().connections, 1);
        assert_eq!((giver.stats().imported_references, owner.stats().exported_objects), (1, 1));

        assert_eq!(soon(taken.add(1)).await.unwrap(), 1);
        until("the giver is released", || giver.stats().imported_references == 0).await;
        assert_eq!(caller.stats().connections, 2);
        giver.shutdown().await;
        gone(&[&giver]).await;
        assert_eq!(soon(taken.add(1)).await.unwrap(), 2);
        drop(taken);
        dropped(&life).await;
        at_rest(&[&owner, &caller]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_giver_may_go_before_the_reference_was_ever_used() {
    let lease = Duration::from_secs(5);
    let owner = Node::builder().listen(mem()).lease(lease).start().await.unwrap();
    let (giver, caller) = (node(&mem()).await, client().await);
    let (object, life) = Tally::mortal();
    let taken = hand_over(&giver, &caller, &hand_over(&owner, &giver, &object).await).await;
    drop(object);
    giver.shutdown().await;
    gone(&[&giver]).await;
    // The giver left without a goodbye, so that its lease covers the caller's way to the owner.
    assert_eq!(soon(taken.add(1)).await.unwrap(), 1);
    tokio::time::sleep(2 * lease).await;
    assert_eq!(soon(taken.add(1)).await.unwrap(), 2);
    drop(taken);
    dropped(&life).await;
    at_rest(&[&owner, &caller]).await;
}

#[tokio::test]
#[expect(clippy::mutable_key_type, reason = "a reference is compared and hashed by ids, which never change")]
async fn references_are_equal_on_every_way_and_whatever_their_options() {
    let (owner, giver, caller) = (node(&mem()).await, node(&mem()).await, client().await);
    let object = counter();
    let direct = hand_over(&owner, &caller, &object).await;
    let around = hand_over(&giver, &caller, &hand_over(&owner, &giver, &object).await).await;
    let hurried = Remote::with(&direct, rmi::CallOptions::new().timeout(Duration::from_millis(1)));
    let other = hand_over(&owner, &caller, &counter()).await;
    assert!(direct == around && direct == hurried && direct != other);
    assert_eq!(Remote::erase(&direct), Remote::erase(&around));
    assert_eq!(Remote::id(&around), Remote::id(&object));
    let set: HashSet<_> = [direct.clone(), around.clone(), hurried, other].into_iter().collect();
    assert_eq!(set.len(), 2);
    soon(around.add(1)).await.unwrap();
    assert!(set.contains(&around), "the way has changed, the hash has not");
    assert!(!format!("{direct:?}").contains(&Remote::id(&direct).expose()), "an id is a right to call");
}

#[derive(Debug, Serialize, Deserialize)]
enum Parcel {
    Empty,
    One(Remote<dyn Counter>),
    Named { any: AnyRemote, note: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Crate {
    list: Vec<Remote<dyn Counter>>,
    maybe: Option<Remote<dyn Counter>>,
    map: BTreeMap<String, Remote<dyn Counter>>,
    parcels: [Parcel; 3],
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum Refused {
    #[error("ask this one")]
    AskInstead(Remote<dyn Counter>),
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote]
trait Post {
    /// Adds to each counter as many as those before it, and gives all back.
    async fn send(&self, goods: Crate) -> rmi::Result<Crate>;
    async fn each(&self, counters: &[Remote<dyn Counter>]) -> rmi::Result<HashMap<u64, Remote<dyn Counter>>>;
    async fn refuse(&self, counter: Remote<dyn Counter>) -> Result<(), Refused>;
    async fn nothing(&self, counter: Option<Remote<dyn Counter>>) -> rmi::Result<bool>;
}

struct Office;

impl Crate {
    fn all(&self) -> Vec<Remote<dyn Counter>> {
        let parcels = self.parcels.iter().filter_map(|parcel| match parcel {
            Parcel::Empty => None,
            Parcel::One(counter) => Some(counter.clone()),
            Parcel::Named { any, .. } => any.cast().ok(),
        });
        self.list.iter().chain(&self.maybe).chain(self.map.values()).cloned().chain(parcels).collect()
    }
}

#[remote]
impl Post for Office {
    async fn send(&self, goods: Crate) -> rmi::Result<Crate> {
        for (by, counter) in (0..).zip(goods.all()) {
            counter.add(by).await?;
        }
        Ok(goods)
    }
    async fn each(&self, counters: &[Remote<dyn Counter>]) -> rmi::Result<HashMap<u64, Remote<dyn Counter>>> {
        Ok((0..).zip(counters.iter().cloned()).collect())
    }
    async fn refuse(&self, counter: Remote<dyn Counter>) -> Result<(), Refused> {
        Err(Refused::AskInstead(counter))
    }
    async fn nothing(&self, counter: Option<Remote<dyn Counter>>) -> rmi::Result<bool> {
        Ok(counter.is_none())
    }
}

#[tokio::test]
async fn references_travel_anywhere_inside_of_values_and_errors() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let post = serve(&server, &client, &Remote::<dyn Post>::new(Office));
        let counters: Vec<_> = (0..7).map(|_| counter()).collect();
        let goods = Crate {
            list: counters[..2].to_vec(),
            maybe: Some(counters[2].clone()),
            map: [("a".into(), counters[3].clone()), ("b".into(), counters[4].clone())].into(),
            parcels: [
                Parcel::Empty,
                Parcel::One(counters[5].clone()),
                Parcel::Named { any: Remote::erase(&counters[6]), note: "fragile".into() },
            ],
        };
        let back = soon(post.send(goods)).await.unwrap();
        assert_eq!(back.all(), counters);
        assert!(matches!(&back.parcels[2], Parcel::Named { note, .. } if note == "fragile"));
        for (by, counter) in (0..).zip(&counters) {
            assert_eq!(counter.total().await.unwrap(), by);
        }
        let each = soon(post.each(&counters)).await.unwrap();
        assert!(each[&3] == counters[3] && each.len() == 7 && Remote::is_local(&each[&3]));
        assert!(soon(post.each(&[])).await.unwrap().is_empty());
        let Err(Refused::AskInstead(this)) = soon(post.refuse(counters[0].clone())).await else { panic!("refused") };
        assert!(this == counters[0] && Remote::is_local(&this));
        assert!(soon(post.nothing(None)).await.unwrap());
        drop((back, counters, each, this));
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn a_thousand_references_in_one_message_are_counted_and_released() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let post = serve(&server, &client, &Remote::<dyn Post>::new(Office));
        let counters: Vec<_> = (0..1000).map(|_| counter()).collect();
        let each = soon(post.each(&counters)).await.unwrap();
        assert_eq!(each.len(), 1000);
        until("nothing is held any more", || server.stats().imported_references == 0).await;
        drop((each, counters));
        at_rest(&[&client]).await;
    }
}

#[test]
fn a_reference_outside_of_a_call_cannot_be_encoded() {
    let refused = rmi_core::wire::Encoder::new(bytes::BytesMut::new()).value(&counter()).unwrap_err();
    assert!(refused.to_string().contains("only inside an argument or a result"), "{refused}");
    let payload = bytes::Bytes::from_static(&[0]);
    let limits = rmi::Limits::default();
    let refused = rmi_core::wire::Decoder::new(&payload, &limits).value::<Remote<dyn Counter>>().unwrap_err();
    assert!(refused.to_string().contains("only inside an argument or a result"), "{refused}");
}

#[tokio::test]
async fn a_weak_reference_keeps_nothing_here_and_nothing_there() {
    let (server, client) = (node(&mem()).await, client().await);
    let (object, life) = Tally::mortal();
    let here = Remote::downgrade(&object);
    assert_eq!(here.upgrade(), Some(object.clone()));
    let held = hand_over(&server, &client, &object).await;
    let there = Remote::downgrade(&held);
    assert_eq!(there.upgrade().unwrap().add(2).await.unwrap(), 2);
    drop(object);
    assert!(here.upgrade().is_some(), "the client still holds it");
    drop(held);
    assert!(there.upgrade().is_none());
    dropped(&life).await;
    assert!(here.upgrade().is_none());
}

#[tokio::test]
async fn an_object_belongs_to_the_first_node_that_it_travels_over() {
    for listen in transports() {
        let (first, second, client) = (node(&listen).await, node(&beside(&listen)).await, client().await);
        let object = counter();
        assert_eq!(Remote::node_id(&object), None);
        let one = hand_over(&first, &client, &object).await;
        let other = hand_over(&second, &client, &object).await;
        assert_eq!(Remote::node_id(&object), Some(first.id()));
        assert_eq!(one, other);
        second.shutdown().await;
        assert_eq!(soon(other.add(1)).await.unwrap(), 1);
        assert_eq!(soon(one.add(1)).await.unwrap(), 2);
        drop((one, other, object));
        at_rest(&[&first, &client, &second]).await;
    }
}

#[tokio::test]
async fn two_nodes_of_one_process_know_the_objects_of_each_other_as_local() {
    let (one, other) = (node(&mem()).await, node(&mem()).await);
    let object = counter();
    hand_over(&one, &other, &object).await;
    let back = hand_over(&other, &one, &object).await;
    assert!(Remote::is_local(&back), "the first node gets its own object back");
}

#[tokio::test]
async fn a_reference_may_be_dropped_where_there_is_no_runtime() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (object, life) = Tally::mortal();
        let held = hand_over(&server, &client, &object).await;
        thread::spawn(move || drop((held, object))).join().unwrap();
        dropped(&life).await;
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn a_service_is_found_by_name_and_cannot_be_passed_on() {
    let (server, client) = (node(&mem()).await, client().await);
    let shelf = serve(&server, &client, &shelf());
    let service = serve(&server, &client, &counter());
    let error = soon(shelf.put(service)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Marshal);
    assert!(error.to_string().contains("Shelf.put") && error.to_string().contains("cannot be passed"), "{error}");
    assert!(shelf.get().await.unwrap().is_none());
}

/// Blocks the thread that drops it until the test has seen that others are not blocked.
struct Stubborn {
    dropping: Arc<AtomicBool>,
    block: Mutex<mpsc::Receiver<()>>,
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        self.dropping.store(true, Ordering::Release);
        self.block.lock().recv_timeout(Duration::from_secs(10)).ok();
    }
}

#[remote]
impl Door for Stubborn {
    async fn take(&self) -> rmi::Result<AnyRemote> {
        Err(RemoteError::new(ErrorKind::Other, "nothing behind it"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_object_whose_drop_blocks_holds_up_no_call() {
    stay_awake();
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (unblock, block) = mpsc::channel();
        let dropping = Arc::new(AtomicBool::new(false));
        let object = Stubborn { dropping: dropping.clone(), block: Mutex::new(block) };
        let held = hand_over(&server, &client, &Remote::<dyn Door>::new(object)).await;
        let total = serve(&server, &client, &counter());
        drop(held);
        until("the drop begins", || dropping.load(Ordering::Acquire)).await;
        for _ in 0..100 {
            soon(total.add(1)).await.unwrap();
        }
        unblock.send(()).unwrap();
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn nodes_of_a_story_may_be_shut_down_in_any_order_while_references_are_held() {
    let nodes: Vec<Node> = [node(&mem()).await, node(&mem()).await, node(&mem()).await].into();
    let shelves: Vec<Remote<dyn Shelf>> = (0..3).map(|_| shelf()).collect();
    for (at, shelf) in shelves.iter().enumerate() {
        let next = (at + 1) % 3;
        let held = hand_over(&nodes[at], &nodes[next], &counter()).await;
        hand_over(&nodes[next], &nodes[at], &shelves[next]).await.put(held).await.unwrap();
        shelf.put(hand_over(&nodes[next], &nodes[at], &counter()).await).await.unwrap();
    }
    for node in [&nodes[1], &nodes[0], &nodes[2]] {
        soon(node.shutdown()).await;
    }
    drop(shelves);
    gone(&[&nodes[0], &nodes[1], &nodes[2]]).await;
}

/// Says how often it was encoded.
#[derive(Deserialize)]
struct Counted;

static ENCODED: AtomicUsize = AtomicUsize::new(0);

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::SeqCst);
        serializer.serialize_unit_struct("Counted")
    }
}

#[remote]
trait Desk {
    async fn leave(&self, counted: Counted, counter: Option<Remote<dyn Counter>>) -> rmi::Result<()>;
}

struct Plain;

#[remote]
impl Desk for Plain {
    async fn leave(&self, _counted: Counted, _counter: Option<Remote<dyn Counter>>) -> rmi::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_arguments_of_a_call_that_goes_once_are_encoded_once() {
    let (server, client) = (node(&mem()).await, client().await);
    let desk = hand_over(&server, &client, &Remote::<dyn Desk>::new(Plain)).await;
    let named = serve(&server, &client, &Remote::<dyn Desk>::new(Plain));
    for (made, desk) in [&desk, &desk, &named, &named].into_iter().enumerate() {
        soon(desk.leave(Counted, None)).await.unwrap();
        soon(desk.leave(Counted, Some(counter()))).await.unwrap();
        assert_eq!(ENCODED.load(Ordering::SeqCst), 2 * (made + 1));
    }
}
