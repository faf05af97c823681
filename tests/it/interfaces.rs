//! Interfaces that are derived from others, over three levels and in a diamond.

use rmi::{Remote, remote};

use crate::common::{Counter, client, hand_over, node, soon, transports};

#[remote]
trait Named {
    async fn name(&self) -> rmi::Result<String>;
}

#[remote]
trait Sounding: Named {
    async fn sound(&self) -> rmi::Result<String>;
}

#[remote]
trait Moving: Named {
    async fn moves(&self) -> rmi::Result<String> {
        Ok(format!("{} goes", self.name().await?))
    }
}

#[remote]
trait Animal: Sounding + Moving {}

#[remote]
trait Dog: Animal {
    async fn fetch(&self, what: &str) -> rmi::Result<String>;
}

struct Rex;

#[remote]
impl Named for Rex {
    async fn name(&self) -> rmi::Result<String> {
        Ok("Rex".into())
    }
}

#[remote]
impl Sounding for Rex {
    async fn sound(&self) -> rmi::Result<String> {
        Ok("wuff".into())
    }
}

#[remote]
impl Moving for Rex {}

#[remote]
impl Animal for Rex {}

#[remote]
impl Dog for Rex {
    async fn fetch(&self, what: &str) -> rmi::Result<String> {
        Ok(format!("the {what}"))
    }
}

async fn does_all(dog: &Remote<dyn Dog>) {
    assert_eq!(dog.fetch("stick").await.unwrap(), "the stick");
    assert_eq!((dog.sound().await.unwrap(), dog.moves().await.unwrap()), ("wuff".into(), "Rex goes".into()));
    let animal: Remote<dyn Animal> = Remote::upcast(dog);
    assert_eq!(animal.name().await.unwrap(), "Rex");
    let named: Remote<dyn Named> = Remote::upcast(&Remote::upcast::<dyn Moving>(&animal));
    assert_eq!(named.name().await.unwrap(), "Rex");
    assert_eq!(named, Remote::upcast::<dyn Named>(dog));

    // No right was taken away: down again, and across the diamond.
    let dog = Remote::cast::<dyn Dog>(&named).unwrap();
    assert_eq!(dog.fetch("ball").await.unwrap(), "the ball");
    assert_eq!(
        Remote::cast::<dyn Sounding>(&Remote::upcast::<dyn Moving>(&dog)).unwrap().sound().await.unwrap(),
        "wuff"
    );
    let error = Remote::cast::<dyn Counter>(&named).unwrap_err();
    let all = ["it.Dog", "it.Animal", "it.Sounding", "it.Moving", "it.Named"];
    assert_eq!((error.wanted(), error.found().to_vec()), ("it.Counter", all.map(String::from).to_vec()));
    assert!(error.to_string().contains("it.Counter") && error.to_string().contains("it.Dog"), "{error}");

    let any = Remote::erase(&named);
    assert_eq!(any.interfaces(), all);
    assert_eq!(any.cast::<dyn Animal>().unwrap().sound().await.unwrap(), "wuff");
    assert_eq!(any.cast::<dyn Counter>().unwrap_err().wanted(), "it.Counter");
}

#[tokio::test]
async fn an_object_has_the_methods_and_the_casts_of_all_its_interfaces_here_and_there() {
    let rex = Remote::<dyn Dog>::new(Rex);
    does_all(&rex).await;
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        soon(does_all(&hand_over(&server, &client, &rex).await)).await;
        // A reference that travels as its base has not forgotten what it is.
        let base: Remote<dyn Named> = Remote::upcast(&rex);
        let base = hand_over(&server, &client, &base).await;
        soon(does_all(&Remote::cast(&base).unwrap())).await;
    }
    let narrow = Remote::<dyn Animal>::new(Rex);
    assert!(Remote::cast::<dyn Dog>(&narrow).is_err(), "it was wrapped as an animal");
}
