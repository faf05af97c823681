//! The examples, run as their users run them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const BOUND: Duration = Duration::from_secs(100);

/// The example's program, where cargo puts it: beside the directory of this test's program.
fn example(name: &str) -> Command {
    let here = env::current_exe().expect("this program has a path");
    let profile = here.ancestors().nth(2).expect("target/PROFILE/deps/it");
    let program = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: `cargo build --examples` makes it", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn output(mut command: Command) -> Output {
    timeout(BOUND, command.output()).await.expect("the example ends in time").expect("the example starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn assert_success(output: &Output) -> String {
    let (told, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{told}\n{complained}", output.status);
    told
}

#[track_caller]
fn assert_failure(output: &Output, complaint: &str) {
    let complained = text(&output.stderr);
    assert!(!output.status.success(), "it must fail: {}\n{complained}", text(&output.stdout));
    assert!(complained.contains(complaint), "{complaint:?} is not in {complained}");
}

#[tokio::test]
async fn callback_runs_in_the_client() {
    let told = assert_success(&output(example("callback")).await);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[..2], ["server: loaf 1 is ready", "client: takes loaf 1"]);
    assert_eq!(lines.last(), Some(&"client: 3 loaves were baked"));
}

#[tokio::test]
async fn inheritance_goes_three_levels() {
    let told = assert_success(&output(example("inheritance")).await);
    assert!(told.contains("copier on floor 2 is ready"), "{told}");
}

#[tokio::test]
async fn values_are_copied_and_references_are_not() {
    let told = assert_success(&output(example("by_value_or_reference")).await);
    assert!(told.contains("11 in the copy, 1 here"), "{told}");
    assert!(told.contains("11 seen there, 11 here"), "{told}");
}

#[tokio::test]
async fn chat_drops_who_leaves_or_dies() {
    let told = assert_success(&output(example("chat")).await);
    assert!(told.contains("ada hears  * bob leaves"), "{told}");
    assert!(told.contains("ada hears  * eve is gone"), "{told}");
}

#[tokio::test]
async fn a_server_of_three_is_killed_and_no_call_that_may_go_again_is_lost() {
    for balance in ["power-of-two-choices", "round-robin", "sticky"] {
        let mut balanced = example("balanced");
        balanced.args(["--calls", "1500", "--balance", balance]);
        let told = assert_success(&output(balanced).await);
        assert!(told.contains("1500 calls, none lost"), "{balance}: {told}");
    }
}

#[tokio::test]
async fn a_hoard_costs_what_it_says_and_leaves_nothing() {
    let mut hoard = example("hoard");
    hoard.args(["--objects", "3000", "--churn", "5000"]);
    let told = assert_success(&output(hoard).await);
    assert!(told.contains("3,000 objects held") && told.contains("5,000 objects made, returned and dropped"), "{told}");
}

#[tokio::test]
async fn three_readers_follow_a_file_each_at_its_pace() {
    let mut tail = example("tail");
    tail.args(["--lines", "400", "--ahead", "16"]);
    let told = assert_success(&output(tail).await);
    for reader in ["fast", "steady", "slow"] {
        let line: Vec<_> = told.lines().find(|line| line.starts_with(reader)).unwrap().split_whitespace().collect();
        assert_eq!(line[1], "400", "{told}");
        assert!(line[3].parse::<u64>().unwrap() <= 32, "{told}");
    }
}

#[tokio::test]
async fn an_upload_takes_no_memory_for_what_passes() {
    let mut upload = example("upload");
    upload.args(["--mib", "128"]);
    let told = assert_success(&output(upload).await);
    assert!(told.contains("128.00 MiB sent") && told.contains("memory of the server"), "{told}");
}

#[tokio::test]
async fn juicers_free_everything_they_make() {
    let mut juicer = example("juicer");
    juicer.args(["--minutes", "0.03", "--seed", "3"]);
    let told = assert_success(&output(juicer).await);
    let total: Vec<_> = told.lines().find(|line| line.starts_with("total")).unwrap().split_whitespace().collect();
    let [calls, made, freed, leaks] = [1, 2, 3, 4].map(|cell| total[cell].replace(',', "").parse::<u64>().unwrap());
    assert!(calls > made && made > 100, "{told}");
    assert_eq!((freed, leaks), (made, 0), "{told}");
    assert!(told.contains("juicer 3") && !told.contains("juicer 4"), "{told}");
}

fn bank<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = example("bank");
    command.args(arguments);
    command
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A ledger of 900 transactions over 30 accounts, in a file of this name.
async fn small_ledger(name: &str) -> PathBuf {
    let path = scratch(name);
    let options = ["--seed", "7", "--rows", "900", "--accounts", "30", "--generate"].map(OsStr::new);
    assert_success(&output(bank(options.into_iter().chain([path.as_os_str()]))).await);
    path
}

/// How many transactions are applied and refused, computed apart from the example.
fn applied_and_refused(ledger: &Path) -> (usize, usize) {
    let (mut balances, mut applied, mut refused) = (BTreeMap::new(), 0, 0);
    for line in fs::read_to_string(ledger).expect("the ledger is there").lines().skip(1) {
        let [account, kind, cents] = line.split(',').collect::<Vec<_>>()[..] else { panic!("not a row: {line}") };
        let balance: &mut i64 = balances.entry(account.to_owned()).or_default();
        let cents: i64 = cents.parse().expect("cents are a number");
        if kind == "withdraw" && cents > *balance {
            refused += 1;
        } else {
            *balance += if kind == "withdraw" { -cents } else { cents };
            applied += 1;
        }
    }
    (applied, refused)
}

#[tokio::test]
async fn the_ledger_is_what_its_generator_makes() {
    let path = scratch("whole_ledger.csv");
    assert_success(&output(bank([OsStr::new("--generate"), path.as_os_str()])).await);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/ledger.csv");
    assert!(fs::read(path).unwrap() == fs::read(&committed).unwrap(), "{} differs", committed.display());
    let (applied, refused) = applied_and_refused(&committed);
    assert_eq!(applied + refused, 20_000);
    assert!(refused > 200, "only {refused} overdrafts");
}

#[tokio::test]
async fn the_bank_agrees_with_its_ledger() {
    let ledger = small_ledger("agrees.csv").await;
    let told = assert_success(&output(bank([OsStr::new("--data"), ledger.as_os_str()])).await);
    let total: Vec<_> = told.lines().find(|line| line.starts_with("total")).unwrap().split_whitespace().collect();
    let (applied, refused) = applied_and_refused(&ledger);
    assert!(refused > 0);
    assert_eq!(total[1..5], ["30".to_owned(), applied.to_string(), refused.to_string(), refused.to_string()]);
    assert!(told.contains("client 3") && !told.contains("client 4"), "{told}");
    assert!(told.contains("every balance of 30 accounts agrees with the ledger"), "{told}");
}

#[tokio::test]
async fn the_bank_fails_on_one_cent_of_difference() {
    let ledger = small_ledger("replayed.csv").await;
    let expect = scratch("expected.csv");
    let first = "account-000,deposit,";
    let tampered = fs::read_to_string(&ledger).unwrap();
    let opening: i64 = tampered.lines().find_map(|line| line.strip_prefix(first)).unwrap().parse().unwrap();
    fs::write(&expect, tampered.replacen(&format!("{first}{opening}"), &format!("{first}{}", opening + 1), 1)).unwrap();
    let arguments = [OsStr::new("--data"), ledger.as_os_str(), OsStr::new("--expect"), expect.as_os_str()];
    let outcome = output(bank(arguments)).await;
    assert_failure(&outcome, "1 of 30 balances differ from the ledger");
    assert_failure(&outcome, "account-000: the bank says ");
}

#[tokio::test]
async fn the_bank_names_the_wrong_line_of_a_ledger() {
    let ledger = scratch("wrong.csv");
    fs::write(&ledger, "account,kind,cents\na,deposit,5\na,withdraw,-3\n").unwrap();
    let outcome = output(bank([OsStr::new("--data"), ledger.as_os_str()])).await;
    assert_failure(&outcome, "wrong.csv:3: account \"a\" cannot move -3 cents");
}

#[tokio::test]
async fn the_bank_gives_up_in_time() {
    assert_failure(&output(bank(["--limit", "0"])).await, "not done within 0 s");
}

/// Starts a part that stays, and reads the line that says where it is.
async fn part(arguments: &[&str]) -> (Child, String) {
    let mut child = bank(arguments).spawn().expect("the part starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = timeout(BOUND, lines.next_line()).await.expect("it tells in time where it is");
    (child, line.expect("it writes text").expect("it tells where it is before it ends"))
}

#[tokio::test]
async fn every_part_runs_alone() {
    let ledger = small_ledger("alone.csv").await;
    let (mut registry, url) = part(&["--role", "registry", "--listen", "tcp://127.0.0.1:0"]).await;
    let (mut server, endpoint) = part(&["--role", "server", "--registry", &url]).await;
    assert!(url.starts_with("rmi://127.0.0.1:") && endpoint.starts_with("tcp://127.0.0.1:"), "{url} {endpoint}");

    let client = async |number: &str, clients: &str| {
        let part = ["--role", "client", "--registry", &url, "--client", number, "--clients", clients, "--data"];
        output(bank(part.map(OsStr::new).into_iter().chain([ledger.as_os_str()]))).await
    };
    let (one, two) = tokio::join!(client("1", "2"), client("2", "2"));
    let (_, refused) = applied_and_refused(&ledger);
    assert!(assert_success(&one).contains(&format!("callbacks={refused} ")), "client 1 is called back for all");
    assert!(assert_success(&two).starts_with("report accounts=15 "));

    // The same ledger once more over the same accounts: the sums are no longer those of the file.
    assert_failure(&client("1", "1").await, "the bank says Sums");

    server.kill().await.unwrap();
    assert_failure(&client("1", "1").await, "client: ");
    registry.kill().await.unwrap();
    assert_failure(&client("1", "1").await, "client: ");
}
