//! A registry over TLS, whose policy says who may do what with which names.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rmi_core::{
    Node, Policy, Remote,
    tls::{Pem, Tls, TlsBuilder},
};
use rmi_registry::{Registry, RegistryError, RegistryServer};
use rustix::process::Signal;

use crate::{
    cable::Cable,
    greeter::{Greeter, PATIENCE, at_a_cable, greeter},
    program::Program,
};

/// Signs certificates for all.
struct Company {
    authority: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Company {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        static USED: AtomicUsize = AtomicUsize::new(0);
        let number = USED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("rmi-registry-{}-{number}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        Self { authority, directory }
    }

    fn sign(&self, name: &str) -> (String, String) {
        // The first name is whose it is; by the second it is dialled.
        let names = [name.to_owned(), "127.0.0.1".to_owned()];
        let (key, params) = (KeyPair::generate().unwrap(), CertificateParams::new(names).unwrap());
        (params.signed_by(&key, &self.authority).unwrap().pem(), key.serialize_pem())
    }

    /// The TLS of somebody of this name.
    fn tls(&self, name: &str) -> TlsBuilder {
        let (certificate, key) = self.sign(name);
        let roots = Pem::text(self.authority.pem());
        Tls::builder().identity(Pem::text(certificate), Pem::text(key)).roots(roots)
    }

    /// A node that listens, of somebody of this name.
    async fn node(&self, name: &str) -> Node {
        let tls = self.tls(name).build().unwrap();
        Node::builder().tls(tls).listen("tls://127.0.0.1:0").start().await.unwrap()
    }

    fn write(&self, file: &str, text: &str) -> String {
        let path = self.directory.join(file);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The program, with all that it needs to be told.
    fn program(&self, policy: &str) -> Program {
        let (certificate, key) = self.sign("127.0.0.1");
        let files = [
            ("--tls-cert", self.write("names.pem", &certificate)),
            ("--tls-key", self.write("names.key", &key)),
            ("--tls-clients", self.write("company.pem", &self.authority.pem())),
            ("--tls-roots", self.write("company.pem", &self.authority.pem())),
            ("--policy", self.write("policy.toml", policy)),
        ];
        let mut arguments = vec!["--listen", "rmis://127.0.0.1:0", "-v"];
        for (flag, file) in &files {
            arguments.extend([flag, file.as_str()]);
        }
        Program::start(&arguments)
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

const POLICY: &str = r#"
    [[allow]]
    principals = ["cert:bank.example"]
    interfaces = ["rmi.Registry"]
    methods = ["bind", "rebind", "unbind", "join", "leave", "list"]
    names = ["bank/"]

    [[allow]]
    principals = ["cert:*"]
    interfaces = ["rmi.Registry"]
    methods = ["lookup"]
"#;

fn denied<T: std::fmt::Debug>(result: Result<T, RegistryError>, who: &str, deed: &str) -> String {
    match result.unwrap_err() {
        error @ RegistryError::AccessDenied { .. } => {
            let told = error.to_string();
            assert!(told.contains(who) && told.contains(deed), "{told}");
            told
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_policy_of_the_program_says_who_may_do_what_with_which_names() {
    let company = Company::new();
    let mut program = company.program(POLICY);
    let url = program.line();
    assert!(url.starts_with("rmis://127.0.0.1:"), "{url}");

    let bank = company.node("bank.example").await;
    let of_bank = Registry::connect_with(&bank, &url).await.unwrap();
    of_bank.bind("bank/greeter", &greeter("bank")).await.unwrap();
    let told = denied(of_bank.bind("shop/greeter", &greeter("bank")).await, "cert:bank.example", "bind");
    assert!(told.contains("have a rule added for it") && told.contains(&url), "{told}");
    assert_eq!(of_bank.list("bank/").await.unwrap().len(), 1);
    denied(of_bank.list("").await, "cert:bank.example", "list");

    let eve = company.node("eve.example").await;
    let of_eve = Registry::connect_with(&eve, &url).await.unwrap();
    let found: Remote<dyn Greeter> = of_eve.lookup("bank/greeter").await.unwrap();
    assert_eq!(found.greet("Eve").await.unwrap(), "bank, Eve");
    for refused in [
        of_eve.bind("bank/mine", &greeter("eve")).await,
        of_eve.rebind("bank/greeter", &greeter("eve")).await,
        of_eve.unbind("bank/greeter").await,
    ] {
        // Refused before its arguments were decoded: she may do so with no name at all.
        let told = denied(refused, "this node", "bind any name");
        assert!(told.contains(&url), "{told}");
    }

    company.write("policy.toml", &POLICY.replace("cert:bank.example", "cert:*"));
    program.signal(Signal::HUP);
    // It has no other way to tell when it has read it.
    let mine = greeter("eve");
    let read_again = async {
        while let Err(error) = of_eve.bind("bank/mine", &mine).await {
            assert!(matches!(error, RegistryError::AccessDenied { .. }), "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, read_again).await.expect("the policy is read again");
    program.signal(Signal::TERM);
    assert!(program.end().success());
}

#[tokio::test]
async fn who_shows_no_certificate_is_not_listened_to() {
    let company = Company::new();
    let mut program = company.program(POLICY);
    let url = program.line();
    let roots = Tls::builder().roots(Pem::text(company.authority.pem())).build().unwrap();
    let bare = Node::builder().tls(roots).start().await.unwrap();
    let error = Registry::connect_with(&bare, &url).await.unwrap_err().to_string();
    assert!(error.contains("asks for a certificate: give this node an identity"), "{error}");
    let plain = url.replace("rmis://", "rmi://");
    let error = Registry::connect_with(&bare, &plain).await.unwrap_err().to_string();
    assert!(error.contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_name_whose_server_is_lost_is_taken_over_by_nobody_else() {
    let company = Company::new();
    let policy = Policy::from_toml("[[allow]]\nprincipals = [\"cert:*\"]\n").unwrap();
    let clients = Pem::text(company.authority.pem());
    let node = Node::builder().tls(company.tls("127.0.0.1").clients(clients).build().unwrap()).authorizer(policy);
    let builder = RegistryServer::builder().listen("rmis://127.0.0.1:0").node_builder(node);
    let server = builder.start().await.unwrap();
    // The bank reaches the registry by a cable alone, and dials nobody by a way of its own.
    let url = server.url();
    let cable = Cable::to(&url.replace("rmis://", "rmi://")).await;
    let lost = at_a_cable().tls(company.tls("bank.example").build().unwrap()).listen("tls://127.0.0.1:0");
    let lost = lost.start().await.unwrap();
    let of_lost = Registry::connect_with(&lost, &cable.url().replace("rmi://", "rmis://")).await.unwrap();
    of_lost.bind("bank/greeter", &greeter("lost")).await.unwrap();
    cable.cut().await;

    // Once the bank may take its name again, the registry has seen the cut: eve may not have it even then.
    let (eve, bank) = (company.node("eve.example").await, company.node("bank.example").await);
    let of_eve = Registry::connect_with(&eve, &url).await.unwrap();
    let of_bank = Registry::connect_with(&bank, &url).await.unwrap();
    let (of_others, of_its_own) = (greeter("eve"), greeter("bank"));
    let taken_over = async {
        loop {
            let taken = of_eve.bind("bank/greeter", &of_others).await;
            assert!(matches!(taken, Err(RegistryError::AlreadyBound { .. })), "{taken:?}");
            if of_bank.bind("bank/greeter", &of_its_own).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_over)
        .await
        .expect("the name is its owner's once the registry has seen the cut");
    let found: Remote<dyn Greeter> = of_eve.lookup("bank/greeter").await.unwrap();
    assert_eq!(found.greet("Eve").await.unwrap(), "bank, Eve");
    server.shutdown().await;
}

#[tokio::test]
async fn a_registry_on_a_node_of_others_takes_no_options_of_its_own() {
    let node = Node::builder().listen("mem://trust-of-others").start().await.unwrap();
    let builder = RegistryServer::builder().node(&node).node_builder(Node::builder());
    let error = builder.start().await.unwrap_err().to_string();
    assert!(error.contains("leave those out"), "{error}");
}
