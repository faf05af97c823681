//! The names that the generated code uses.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::format_ident;
use syn::{Error, Path, parse_quote};

/// Methods of traits in everybody's scope that `Remote` implements itself: on a `Remote`, they
/// would be called instead of the interface's.
pub(crate) const HIDDEN_METHODS: [&str; 8] =
    ["clone", "clone_from", "clone_into", "eq", "into", "ne", "to_owned", "try_into"];

/// The runtime as the user's crate knows it.
pub(crate) fn runtime() -> syn::Result<Path> {
    // `extern crate self` makes each of the two known to itself under its own name.
    let known = |package: &str, own: &str| match crate_name(package).ok()? {
        FoundCrate::Itself => Some(own.to_owned()),
        FoundCrate::Name(name) => Some(name),
    };
    let name = known("rmi", "rmi").or_else(|| known("rmi-core", "rmi_core")).ok_or_else(|| {
        let how =
            "cannot find the crate `rmi`: add it to Cargo.toml, or say where it is: `#[remote(crate = \"path\")]`";
        Error::new(Span::call_site(), how)
    })?;
    let name = Ident::new(&name, Span::call_site());
    Ok(parse_quote!(::#name))
}

/// The constant that describes the method at this place in the trait.
pub(crate) fn method(index: usize) -> Ident {
    format_ident!("__METHOD_{index}")
}

/// The constant for the id of the method at this place in the trait.
pub(crate) fn method_id(index: usize) -> Ident {
    format_ident!("__METHOD_{index}_ID")
}

/// The local variable for the parameter at this place in the method.
pub(crate) fn argument(index: usize) -> Ident {
    format_ident!("__argument_{index}")
}

/// Tokens as text that depends on nothing but the tokens: not on the source's white space, nor on
/// the compiler's taste. Fingerprints are made of it.
pub(crate) fn canonical(tokens: TokenStream) -> String {
    let mut text = String::new();
    write_canonical(tokens, &mut text);
    text
}

fn write_canonical(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_canonical(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => text.push(punct.as_char()),
            word => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_separates_words_and_nothing_else() {
        let tokens = "Result < Option<&'a str>, Box< dyn Fn(u8) -> [u8 ; 4] >>".parse().unwrap();
        assert_eq!(canonical(tokens), "Result<Option<&'a str>,Box<dyn Fn(u8)->[u8;4]>>");
    }
}
