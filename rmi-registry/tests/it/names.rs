//! What the operations do, over every transport.

use rmi_core::{ErrorKind, Node, Remote};
use rmi_registry::{Registry, RegistryError, RegistryServer};

use crate::greeter::{Greeter, Singer, Stranger, beside, client_of, greeter, mem, server_of, transports};

#[tokio::test]
async fn a_bound_object_is_looked_up_and_called() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let (server, at_server) = server_of(&names, &beside(&url)).await;
        let (client, at_client) = client_of(&names).await;

        at_server.bind("greeter", &greeter("Hello")).await.unwrap();
        let found = at_client.lookup::<dyn Greeter>("greeter").await.unwrap();
        assert!(!Remote::is_local(&found));
        assert_eq!(found.greet("Ada").await.unwrap(), "Hello, Ada");
        assert_eq!(Remote::node_id(&found), Some(server.id()), "the client calls the server itself");

        let home = at_server.lookup::<dyn Greeter>("greeter").await.unwrap();
        assert!(Remote::is_local(&home), "a reference that comes home is the object itself");

        client.shutdown().await;
        server.shutdown().await;
        names.shutdown().await;
    }
}

#[tokio::test]
async fn a_name_is_bound_once_and_rebound_and_unbound() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let (_server, registry) = server_of(&names, &beside(&url)).await;
        let greet = async || registry.lookup::<dyn Greeter>("a").await?.greet("x").await.map_err(RegistryError::from);

        registry.bind("a", &greeter("first")).await.unwrap();
        let error = registry.bind("a", &greeter("second")).await.unwrap_err();
        assert!(matches!(&error, RegistryError::AlreadyBound { name, .. } if name == "a"), "{error:?}");
        assert!(error.to_string().contains(&names.url()), "{error}");
        assert_eq!(greet().await.unwrap(), "first, x");

        registry.rebind("a", &greeter("third")).await.unwrap();
        assert_eq!(greet().await.unwrap(), "third, x");

        registry.unbind("a").await.unwrap();
        for error in [greet().await.unwrap_err(), registry.unbind("a").await.unwrap_err()] {
            assert!(matches!(&error, RegistryError::NotBound { name, .. } if name == "a"), "{error:?}");
            assert!(error.to_string().contains(&names.url()), "{error}");
        }

        registry.rebind("a", &greeter("fourth")).await.unwrap();
        assert_eq!(greet().await.unwrap(), "fourth, x");
    }
}

#[tokio::test]
async fn a_wrong_interface_is_refused_with_both_named() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_server, at_server) = server_of(&names, &mem("server")).await;
    let (_client, at_client) = client_of(&names).await;
    at_server.bind("singer", &Remote::<dyn Singer>::new(crate::greeter::Host("Do"))).await.unwrap();

    let error = at_client.lookup::<dyn Stranger>("singer").await.unwrap_err();
    let RegistryError::WrongInterface { name, wanted, mut found, .. } = error else { panic!("{error:?}") };
    found.sort();
    assert_eq!((name.as_str(), wanted.as_str()), ("singer", "test.Stranger"));
    assert_eq!(found, ["test.Greeter", "test.Singer"]);

    let as_base = at_client.lookup::<dyn Greeter>("singer").await.unwrap();
    assert_eq!(as_base.greet("re").await.unwrap(), "Do, re");
    let any = at_client.lookup_any("singer").await.unwrap();
    assert_eq!(any.cast::<dyn Singer>().unwrap().sing().await.unwrap(), "Do, la la la");
}

#[tokio::test]
async fn lists_are_complete_in_order_and_span_pages() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_server, registry) = server_of(&names, &mem("server")).await;
    let object = greeter("Hello");
    let mut expected: Vec<_> = (0..2500).map(|number| format!("many/{number}")).collect();
    for name in &expected {
        registry.bind(name, &object).await.unwrap();
    }
    registry.bind("few/1", &object).await.unwrap();
    expected.sort();

    let listed = registry.list("many/").await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), expected);
    assert!(listed.iter().all(|entry| entry.interfaces == ["test.Greeter"]));
    assert_eq!(registry.list("").await.unwrap().len(), 2501);
    assert_eq!(registry.list("few/").await.unwrap().len(), 1);
    assert!(registry.list("none").await.unwrap().is_empty());
}

#[tokio::test]
async fn odd_names_are_names_and_wrong_ones_are_refused_before_anything_is_sent() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_server, registry) = server_of(&names, &mem("server")).await;
    for name in ["a/b:c_d", "銀行", "a b", "/", "100%"] {
        registry.bind(name, &greeter("Hello")).await.unwrap();
        registry.lookup::<dyn Greeter>(name).await.unwrap();
    }

    names.shutdown().await;
    let too_long = "a".repeat(1025);
    for name in ["", " a", "a\n", "\0", &too_long] {
        let errors = [
            registry.bind(name, &greeter("Hello")).await.unwrap_err(),
            registry.rebind(name, &greeter("Hello")).await.unwrap_err(),
            registry.unbind(name).await.unwrap_err(),
            registry.lookup_any(name).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, RegistryError::InvalidName { .. })), "{errors:?}");
    }
}

#[tokio::test]
async fn an_object_that_nobody_could_call_is_not_bound() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_client, registry) = client_of(&names).await;
    for error in [
        registry.bind("a", &greeter("Hello")).await.unwrap_err(),
        registry.rebind("a", &greeter("Hello")).await.unwrap_err(),
    ] {
        assert!(matches!(&error, RegistryError::NotListening { name, .. } if name == "a"), "{error:?}");
        assert!(error.to_string().contains(".listen("), "{error}");
    }
    assert!(registry.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_can_lead_to_an_object_of_a_third_node() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (server, at_server) = server_of(&names, &mem("server")).await;
    let (_client, at_client) = client_of(&names).await;
    at_server.bind("a", &greeter("Hello")).await.unwrap();

    let found = at_client.lookup::<dyn Greeter>("a").await.unwrap();
    at_client.bind("alias", &found).await.unwrap();
    let alias = at_client.lookup::<dyn Greeter>("alias").await.unwrap();
    assert_eq!(alias, found);
    assert_eq!(alias.greet("Ada").await.unwrap(), "Hello, Ada");
    assert_eq!(Remote::node_id(&alias), Some(server.id()));
}

#[tokio::test]
async fn registries_of_one_process_do_not_mix_their_names() {
    let first = RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await.unwrap();
    let second = RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await.unwrap();
    assert_ne!(first.url(), second.url());
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let at_first = Registry::connect_with(&node, &first.url()).await.unwrap();
    let at_second = Registry::connect_with(&node, &second.url()).await.unwrap();

    at_first.bind("a", &greeter("first")).await.unwrap();
    assert!(matches!(at_second.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
    at_second.bind("a", &greeter("second")).await.unwrap();
    assert_eq!(at_first.lookup::<dyn Greeter>("a").await.unwrap().greet("x").await.unwrap(), "first, x");
    assert_eq!(at_second.lookup::<dyn Greeter>("a").await.unwrap().greet("x").await.unwrap(), "second, x");
}

#[tokio::test]
async fn a_registry_runs_beside_the_objects_of_a_node() {
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let names = RegistryServer::builder().node(&node).start().await.unwrap();
    let own = Registry::connect_with(&node, &names.url()).await.unwrap();
    own.bind("a", &greeter("Hello")).await.unwrap();

    let (_client, registry) = client_of(&names).await;
    let found = registry.lookup::<dyn Greeter>("a").await.unwrap();
    assert_eq!(found.greet("Ada").await.unwrap(), "Hello, Ada");

    names.shutdown().await;
    assert_eq!(found.greet("Bob").await.unwrap(), "Hello, Bob", "the node goes on");
    let error = registry.lookup_any("a").await.unwrap_err();
    assert!(matches!(&error, RegistryError::Remote(error) if error.kind() == ErrorKind::NoSuchObject), "{error:?}");
}

#[tokio::test]
async fn the_free_functions_take_one_url() {
    let names = RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await.unwrap();
    let (_server, at_server) = server_of(&names, "tcp://127.0.0.1:0").await;
    at_server.bind("halls/great hall", &greeter("Hello")).await.unwrap();

    let url = format!("{}/halls/great%20hall", names.url());
    let found: Remote<dyn Greeter> = rmi_registry::lookup(&url).await.unwrap();
    assert_eq!(found.greet("Ada").await.unwrap(), "Hello, Ada");
    rmi_registry::bind(&format!("{}/alias", names.url()), &found).await.unwrap();
    at_server.lookup::<dyn Greeter>("alias").await.unwrap();

    let error = rmi_registry::bind(&format!("{}/mine", names.url()), &greeter("Hello")).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotListening { .. }), "{error:?}");
}
