//! The direction of imports: five layers, and each names only itself and those below it.
//!
//! Read from the tokens of the sources, so that paths in expressions, in macros and in braces count
//! as `use` items do, and so that no comment or string does.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// The layers from below; every module that is not named is of the layer above them all.
const LAYERS: [&[&str]; 4] = [
    &["endpoint", "error", "id", "limits", "memory", "plant", "principal", "sync", "time"],
    &["wire"],
    &["object", "session"],
    &["connection", "transport"],
];

/// Layers below this one are pure: bytes and moments are given to them.
const IO_LAYER: usize = 3;

const SOCKETS: [&str; 6] = ["TcpListener", "TcpStream", "UdpSocket", "UnixDatagram", "UnixListener", "UnixStream"];
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

#[test]
fn imports_point_down_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in LAYERS.into_iter().flatten() {
        let (file, dir) = (src.join(module).with_extension("rs"), src.join(module));
        assert!(file.exists() || dir.exists(), "LAYERS names `{module}`, which is no module any more");
    }
    let root = RootNames::of(&fs::read_to_string(src.join("lib.rs")).unwrap());
    let mut findings = Vec::new();
    for path in sources(&src).unwrap() {
        let module = module_path(path.strip_prefix(&src).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        findings
            .extend(check(&module, &text, &root).into_iter().map(|finding| format!("{}:{finding}", path.display())));
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// A place that breaks the rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// The findings in a module's source, at most one for each word.
fn check(module: &[String], source: &str, root: &RootNames) -> Vec<Finding> {
    let Some(top) = module.first() else { return Vec::new() }; // lib.rs names what it likes
    let layer = layer(top);
    let tokens = tokens(source);
    let mut findings = Vec::new();
    for (path, line) in paths(&tokens, module) {
        let first = path.first().map_or("*", String::as_str);
        let target = root.module(first).unwrap_or(first);
        let above = self::layer(target);
        if above > layer {
            let what = format!("layer {layer} (`{top}`) imports `crate::{}` of layer {above}", path.join("::"));
            findings.push(Finding { line, what });
        }
    }
    if layer < IO_LAYER {
        findings.extend(outside_words(&tokens).into_iter().map(|(word, line)| {
            let what = format!("layer {layer} (`{top}`) names `{word}`: it has neither I/O nor a clock");
            Finding { line, what }
        }));
    }
    findings
}

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|modules| modules.contains(&module)).unwrap_or(LAYERS.len())
}

/// The runtime, the sockets and the clocks that a source names.
fn outside_words(tokens: &[Token<'_>]) -> Vec<(String, usize)> {
    let mut words = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let next = |distance: usize| tokens.get(at + distance).map(|token| token.text);
        if token.text == "tokio" || SOCKETS.contains(&token.text) {
            words.push((token.text.to_owned(), token.line));
        } else if CLOCKS.contains(&token.text) && next(1) == Some("::") && next(2) == Some("now") {
            words.push((format!("{}::now", token.text), token.line));
        }
    }
    words
}

/// The paths in a module that start in its own crate, from the crate's root, with their lines.
fn paths(tokens: &[Token<'_>], module: &[String]) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    let mut inside = module.to_vec(); // with the inline modules around the token
    let mut braces = Vec::new(); // for each open brace, whether it opened an inline module
    for (at, token) in tokens.iter().enumerate() {
        let before = |distance: usize| at.checked_sub(distance).and_then(|at| tokens.get(at)).map(|token| token.text);
        let is_head = before(1) != Some("::") && tokens.get(at + 1).is_some_and(|next| next.text == "::");
        let rest = tokens.get(at + 2..).unwrap_or_default();
        match token.text {
            "{" => {
                let name = before(1).filter(|_| before(2) == Some("mod"));
                inside.extend(name.map(str::to_owned));
                braces.push(name.is_some());
            }
            "}" if braces.pop() == Some(true) => drop(inside.pop()),
            "crate" if is_head => _ = read_tree(rest, &[], &mut found),
            "rmi_core" if tokens.get(at + 1).is_some_and(|next| next.text == "::") => {
                _ = read_tree(rest, &[], &mut found);
            }
            "super" if is_head => {
                let parent = inside.split_last().map_or(&[][..], |(_, parent)| parent);
                _ = read_tree(rest, parent, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Reads a path or a use tree below `base`, adds its leaves, and returns the tokens after it.
fn read_tree<'t, 's>(
    tokens: &'t [Token<'s>],
    base: &[String],
    found: &mut Vec<(Vec<String>, usize)>,
) -> &'t [Token<'s>] {
    let Some((token, mut rest)) = tokens.split_first() else { return tokens };
    if token.text == "{" {
        loop {
            match rest.split_first() {
                None => return rest,
                Some((token, after)) if token.text == "}" => return after,
                Some((token, after)) if token.text == "," => rest = after,
                Some(_) => {
                    let after = read_tree(rest, base, found);
                    // Past `as Other`, up to the next branch.
                    let end = after.iter().position(|token| matches!(token.text, "," | "}")).unwrap_or(after.len());
                    rest = after.get(end..).unwrap_or_default();
                }
            }
        }
    }
    let mut path = base.to_vec();
    match token.text {
        "self" => {}
        "super" => drop(path.pop()),
        name => path.push(name.to_owned()),
    }
    let goes_on = |token: &Token<'_>| token.text == "{" || token.text == "*" || is_word(token.text);
    match rest {
        [separator, next, ..] if separator.text == "::" && goes_on(next) => {
            read_tree(rest.get(1..).unwrap_or_default(), &path, found)
        }
        _ => {
            found.push((path, token.line));
            rest
        }
    }
}

/// The names that `lib.rs` re-exports, each with the module that it comes from.
#[derive(Default)]
struct RootNames(HashMap<String, String>);

impl RootNames {
    fn of(lib: &str) -> Self {
        let tokens = tokens(lib);
        let mut names = Self::default();
        for (at, _) in tokens.iter().enumerate().filter(|(_, token)| token.text == "use") {
            let mut leaves = Vec::new();
            let tree = tokens.get(at + 1..).unwrap_or_default();
            let tree = match tree {
                [head, _, below @ ..] if matches!(head.text, "crate" | "self") => below,
                _ => tree,
            };
            read_tree(tree, &[], &mut leaves);
            for (path, line) in leaves {
                assert!(path.last().is_some_and(|name| name != "*"), "lib.rs:{line}: a glob hides what it re-exports");
                if let [module, .., name] = path.as_slice() {
                    names.0.insert(name.clone(), module.clone());
                }
            }
        }
        names
    }

    fn module(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// All `.rs` files below a directory, sorted.
fn sources(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `session/calls.rs` is `session::calls`, `session/mod.rs` is `session`, `lib.rs` is the root.
fn module_path(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let mut names: Vec<_> = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|last| last == "mod" || last == "lib") {
        names.pop();
    }
    names
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token<'s> {
    text: &'s str,
    line: usize,
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Words, `::` and single signs; comments, strings, characters and lifetimes are left out.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_len(rest)
        } else if let Some(len) = string_len(rest) {
            len
        } else if first == '\'' {
            quoted_len(rest)
        } else if is_word(rest) {
            rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(len);
        let is_token = is_word(text) && !text.ends_with(['"', '#']) || text == "::" || text.chars().count() == 1;
        if is_token && !first.is_whitespace() {
            tokens.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string literal, raw or not, with which the text starts.
fn string_len(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| text.starts_with(prefix)).unwrap_or("");
    let body = text.strip_prefix(prefix)?;
    let hashes = if prefix.ends_with('r') { body.len() - body.trim_start_matches('#').len() } else { 0 };
    let open = prefix.len() + hashes + 1;
    let inner = body.trim_start_matches('#').strip_prefix('"').filter(|_| hashes > 0 || body.starts_with('"'))?;
    if prefix.ends_with('r') {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(inner.find(&close).map_or(text.len(), |at| open + at + close.len()));
    }
    let mut escaped = false;
    for (at, char) in inner.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(open + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// The length of the character or the lifetime with which the text starts.
fn quoted_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let close = match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, char))) => {
            let from = escaped + char.len_utf8();
            text.get(from..).and_then(|rest| rest.find('\'')).map_or(from, |at| from + at + 1)
        }
        (Some(_), Some((close, '\''))) => close + 1,
        _ => 1 + text.chars().skip(1).take_while(|char| char.is_alphanumeric() || *char == '_').count(),
    };
    close.min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "pub mod node; pub use error::{RemoteError, Result}; pub use crate::node::Node;";

    fn found(file: &str, source: &str) -> Vec<(usize, String)> {
        let findings = check(&module_path(Path::new(file)), source, &RootNames::of(LIB));
        findings.into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    fn import(line: usize, layer: usize, module: &str, path: &str, above: usize) -> (usize, String) {
        (line, format!("layer {layer} (`{module}`) imports `crate::{path}` of layer {above}"))
    }

    #[test]
    fn a_planted_import_is_found_with_its_line() {
        let source = "use std::fmt;\n\nuse crate::node::Node;\n";
        assert_eq!(found("session/calls.rs", source), [import(3, 2, "session", "node::Node", 4)]);
    }

    #[test]
    fn braces_are_followed_to_their_leaves() {
        let source = "use crate::{\n    id::{NodeId as Id, ObjectId},\n    session::{self, calls::*},\n    wire,\n};";
        let expected = [import(3, 1, "wire", "session", 2), import(3, 1, "wire", "session::calls::*", 2)];
        assert_eq!(found("wire/frame.rs", source), expected);
    }

    #[test]
    fn paths_in_expressions_macros_and_through_the_own_name_count() {
        let source = "fn f() {\n  dbg!(crate::connection::Driver::<u8>::new());\n  ::rmi_core::call::start();\n}";
        let expected = [import(2, 2, "object", "connection::Driver", 3), import(3, 2, "object", "call::start", 4)];
        assert_eq!(found("object/table.rs", source), expected);
    }

    #[test]
    fn super_leads_out_of_the_file_and_of_inline_modules() {
        let source = "use super::super::node::Node;\nuse super::references::Held;\nmod inner {\n  use super::Call;\n  use super::super::super::{node, wire};\n}\nmod tests { use super::*; }";
        let expected = [import(1, 2, "session", "node::Node", 4), import(5, 2, "session", "node", 4)];
        assert_eq!(found("session/calls.rs", source), expected);
    }

    #[test]
    fn names_of_the_root_count_for_the_modules_they_come_from() {
        let source = "use crate::{Result, RemoteError};\nuse crate::Node;\nuse crate::Unknown;\nuse crate::*;";
        let expected =
            [import(2, 1, "wire", "Node", 4), import(3, 1, "wire", "Unknown", 4), import(4, 1, "wire", "*", 4)];
        assert_eq!(found("wire/mod.rs", source), expected);
    }

    #[test]
    fn sockets_clocks_and_the_runtime_stay_above() {
        let source = "use std::net::{IpAddr, TcpStream};\nuse std::time::Instant;\nlet now = Instant::now();\ntokio::spawn(x);\nstd::time::SystemTime::now();";
        let words: Vec<_> = found("limits.rs", source);
        let expected = [(1, "TcpStream"), (3, "Instant::now"), (4, "tokio"), (5, "SystemTime::now")];
        let expected = expected
            .map(|(line, word)| (line, format!("layer 0 (`limits`) names `{word}`: it has neither I/O nor a clock")));
        assert_eq!(words, expected);
        assert_eq!(found("transport/tcp.rs", source), []);
    }

    #[test]
    fn imports_downwards_and_visibilities_pass() {
        let source = "use crate::{id::NodeId, wire::Frame};\npub(crate) struct A;\npub(in crate::session) struct B;";
        assert_eq!(found("session/mod.rs", source), []);
        assert_eq!(found("node/mod.rs", "use crate::{transport::tcp, session::Session, call::Call};"), []);
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let source = r####"
            // crate::node::A
            /* crate::node::B /* tokio */ crate::node::C */
            let a = "crate::node::D \" tokio";
            let b = r#"crate::node::E " tokio"#;
            let c = ('"', '\'', 'x', '\u{41}');
            fn f<'a>(r: &'a str, b: u8) -> &'a str { r }
            use crate::node::F;
        "####;
        assert_eq!(found("id.rs", source), [import(8, 0, "id", "node::F", 4)]);
    }
}
