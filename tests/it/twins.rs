//! Two nodes that dial each other: two links become one, and nothing is lost or doubled.

use std::{sync::Arc, time::Duration};

use rmi::{Node, Remote};

use crate::common::{
    Keeper, Log, Pages, Tally, at_rest, beside, dropped, hand_over, node, pass, serve, shelf, soon, transports, until,
};

/// Two nodes, the one of the lower id first.
async fn two(listen: &str) -> [Node; 2] {
    let (one, other) = (node(listen).await, node(&beside(listen)).await);
    if one.id() < other.id() { [one, other] } else { [other, one] }
}

async fn become_one(nodes: &[Node; 2]) {
    until("two links become one", || nodes.iter().all(|node| node.stats().connections == 1)).await;
}

#[tokio::test]
async fn links_dialled_from_both_sides_at_once_become_one() {
    for listen in transports() {
        for first in [0, 1, 2] {
            let nodes = two(&beside(&listen)).await;
            let [low, high] = &nodes;
            let (of_low, life_of_low) = Tally::mortal();
            let (of_high, life_of_high) = Tally::mortal();
            // One of them first, or both at once.
            let (at_low, at_high) = match first {
                0 => {
                    let at_high = hand_over(low, high, &of_low).await;
                    (hand_over(high, low, &of_high).await, at_high)
                }
                1 => {
                    let at_low = hand_over(high, low, &of_high).await;
                    (at_low, hand_over(low, high, &of_low).await)
                }
                _ => tokio::join!(hand_over(high, low, &of_high), hand_over(low, high, &of_low)),
            };
            drop((of_low, of_high));
            become_one(&nodes).await;
            assert_eq!(soon(at_low.add(1)).await.unwrap(), 1);
            assert_eq!(soon(at_high.add(1)).await.unwrap(), 1);
            assert_eq!((life_of_low.strong_count(), life_of_high.strong_count()), (1, 1));
            drop((at_low, at_high));
            dropped(&life_of_low).await;
            dropped(&life_of_high).await;
            at_rest(&[low, high]).await;
            become_one(&nodes).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_in_order_while_two_links_become_one() {
    for listen in transports() {
        let nodes = two(&listen).await;
        let [low, high] = &nodes;
        let logs = [Arc::new(Pages::default()), Arc::new(Pages::default())];
        let objects = logs.each_ref().map(|pages| Remote::<dyn Log>::from_arc(pages.clone()));
        let (at_low, at_high) = tokio::join!(hand_over(high, low, &objects[1]), hand_over(low, high, &objects[0]));
        let callers = [at_low, at_high].map(|log| {
            tokio::spawn(async move {
                for number in (0..2000).step_by(8) {
                    let burst = (number..number + 8).map(|number| log.note(number));
                    for noted in soon(futures_util::future::join_all(burst)).await {
                        noted.unwrap();
                    }
                }
            })
        });
        for caller in callers {
            caller.await.unwrap();
        }
        become_one(&nodes).await;
        for log in logs {
            let pages = log.read().await.unwrap();
            assert!(pages.len() == 2000 && pages.is_sorted(), "each once, in order");
        }
    }
}

#[tokio::test]
async fn a_call_in_flight_keeps_its_link_until_it_is_answered() {
    for listen in transports() {
        let nodes = two(&listen).await;
        let [low, high] = &nodes;
        let keepers = [Keeper::shut(), Keeper::shut()];
        let gates = [serve(high, low, &keepers[0].gate()), serve(low, high, &keepers[1].gate())];
        let waiting = gates.each_ref().map(pass);
        for keeper in &keepers {
            keeper.holds(1).await;
        }
        // A little later the links have met; the calls go on.
        let shelf = serve(high, low, &shelf());
        soon(shelf.clear()).await.unwrap();
        tokio::time::timeout(Duration::from_millis(50), async { become_one(&nodes).await }).await.unwrap_err();
        keepers.iter().for_each(Keeper::open);
        for waiting in waiting {
            soon(waiting).await.unwrap().unwrap();
        }
        become_one(&nodes).await;
        soon(shelf.clear()).await.unwrap();
        become_one(&nodes).await;
    }
}
