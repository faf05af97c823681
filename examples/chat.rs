//! A chat room: one server, many clients. Each member is an object in its client, called back by
//! the room; who leaves, or dies without a word, is dropped from it.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use parking_lot::Mutex;
use rmi::{Node, Registry, RegistryServer, Remote, remote};

/// Lives in the server.
#[remote]
trait Room {
    /// From now on `member` hears what is said in the room.
    async fn join(&self, name: &str, member: Remote<dyn Member>) -> rmi::Result<()>;
    /// Returns when every member has heard it.
    async fn say(&self, name: &str, text: &str) -> rmi::Result<()>;
    async fn leave(&self, name: &str) -> rmi::Result<()>;
    async fn members(&self) -> rmi::Result<Vec<String>>;
}

/// Lives in a client.
#[remote]
trait Member {
    async fn hear(&self, line: &str) -> rmi::Result<()>;
}

#[derive(Debug, Default)]
struct Lobby(Mutex<BTreeMap<String, Remote<dyn Member>>>);

impl Lobby {
    /// Tells everybody at once, and then the rest of those who did not hear it.
    async fn tell(&self, line: String) {
        let mut lines = vec![line];
        while let Some(line) = lines.pop() {
            let members = self.0.lock().clone();
            let hear = async |(name, member): (String, Remote<dyn Member>)| (name, member.hear(&line).await);
            for (name, heard) in join_all(members.into_iter().map(hear)).await {
                if heard.is_err() && self.0.lock().remove(&name).is_some() {
                    lines.push(format!("* {name} is gone"));
                }
            }
        }
    }
}

#[remote]
impl Room for Lobby {
    async fn join(&self, name: &str, member: Remote<dyn Member>) -> rmi::Result<()> {
        self.0.lock().insert(name.to_owned(), member);
        self.tell(format!("* {name} is here")).await;
        Ok(())
    }

    async fn say(&self, name: &str, text: &str) -> rmi::Result<()> {
        self.tell(format!("{name}: {text}")).await;
        Ok(())
    }

    async fn leave(&self, name: &str) -> rmi::Result<()> {
        self.0.lock().remove(name);
        self.tell(format!("* {name} leaves")).await;
        Ok(())
    }

    async fn members(&self) -> rmi::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }
}

/// What a client hears.
#[derive(Debug)]
struct Ears(&'static str, Mutex<Vec<String>>);

#[remote]
impl Member for Ears {
    async fn hear(&self, line: &str) -> rmi::Result<()> {
        println!("{} hears  {line}", self.0);
        self.1.lock().push(line.to_owned());
        Ok(())
    }
}

/// One client: a node that listens nowhere, the room seen from it, and what it hears there.
async fn enter(names: &str, name: &'static str) -> anyhow::Result<(Node, Remote<dyn Room>, Arc<Ears>)> {
    let node = Node::builder().start().await?;
    let room: Remote<dyn Room> = Registry::connect_with(&node, names).await?.lookup("rooms/lobby").await?;
    let ears = Arc::new(Ears(name, Mutex::default()));
    room.join(name, Remote::<dyn Member>::from_arc(ears.clone())).await?;
    Ok((node, room, ears))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let server = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let lobby = Remote::<dyn Room>::new(Lobby::default());
    Registry::connect_with(&server, &names.url()).await?.bind("rooms/lobby", &lobby).await?;

    let (ada_node, ada, ada_heard) = enter(&names.url(), "ada").await?;
    let (bob_node, bob, bob_heard) = enter(&names.url(), "bob").await?;
    let (eve_node, _, eve_heard) = enter(&names.url(), "eve").await?;
    ada.say("ada", "hello").await?;
    bob.leave("bob").await?;
    assert_eq!(ada.members().await?, ["ada", "eve"], "who leaves is dropped");
    eve_node.shutdown().await; // Eve's program ends; she never left the room.
    ada.say("ada", "anybody there?").await?;
    assert_eq!(ada.members().await?, ["ada"], "who dies is dropped");

    assert_eq!(*bob_heard.1.lock(), ["* bob is here", "* eve is here", "ada: hello"]);
    assert_eq!(*eve_heard.1.lock(), ["* eve is here", "ada: hello", "* bob leaves"]);
    let until_eve_died = ["* ada is here", "* bob is here", "* eve is here", "ada: hello", "* bob leaves"];
    assert_eq!(*ada_heard.1.lock(), [&until_eve_died[..], &["ada: anybody there?", "* eve is gone"]].concat());
    for node in [ada_node, bob_node, server] {
        node.shutdown().await;
    }
    names.shutdown().await;
    Ok(())
}
