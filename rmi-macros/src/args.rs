//! The options of `#[remote(..)]`.

use proc_macro2::{Ident, TokenStream};
use syn::{
    Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, Path, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
};

use crate::{Errors, duration};

/// Where an attribute stands.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Trait,
    Impl,
    Method,
}

/// The options of one attribute, checked.
#[derive(Default)]
pub(crate) struct Options {
    /// The name on the wire.
    pub(crate) name: Option<LitStr>,
    /// Where the runtime is found.
    pub(crate) runtime: Option<Path>,
    /// The method may run more than once for one call.
    pub(crate) idempotent: Option<Ident>,
    /// Nobody waits for the method's answer.
    pub(crate) oneway: Option<Ident>,
    /// How long a call of the method may take, in microseconds.
    pub(crate) timeout: Option<u64>,
    /// The method runs to its end, whatever becomes of its caller.
    pub(crate) detached: Option<Ident>,
    /// The method may block its thread.
    pub(crate) blocking: Option<Ident>,
}

impl Options {
    pub(crate) fn parse(place: Place, tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        options.read(place, tokens, errors);
        options
    }

    /// Takes the `#[remote(..)]` attributes out of a method's attributes.
    pub(crate) fn take_from(attributes: &mut Vec<Attribute>, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for attribute in attributes.extract_if(.., |attribute| is_remote(attribute)) {
            match attribute.meta {
                Meta::List(list) => options.read(Place::Method, list.tokens, errors),
                meta => errors.push(Error::new_spanned(meta, "say what: `#[remote(name = \"..\")]`")),
            }
        }
        options
    }

    fn read(&mut self, place: Place, tokens: TokenStream, errors: &mut Errors) {
        match Punctuated::<Given, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(list) => list.into_iter().for_each(|given| self.take(place, given, errors)),
            Err(error) => errors.push(error),
        }
    }

    fn take(&mut self, place: Place, given: Given, errors: &mut Errors) {
        let Given { option, value } = given;
        let word = option.unraw().to_string();
        if !place.options().contains(&word.as_str()) {
            return errors.push(Error::new_spanned(&option, place.refusal(&word)));
        }
        let result = match word.as_str() {
            "name" => name(place, &option, value).and_then(|name| set(&mut self.name, name, &option)),
            "idempotent" => flag(&option, value).and_then(|given| set(&mut self.idempotent, given, &option)),
            "oneway" => flag(&option, value).and_then(|given| set(&mut self.oneway, given, &option)),
            "detached" => flag(&option, value).and_then(|given| set(&mut self.detached, given, &option)),
            "blocking" => flag(&option, value).and_then(|given| set(&mut self.blocking, given, &option)),
            "timeout" => timeout(&option, value).and_then(|given| set(&mut self.timeout, given, &option)),
            _ => runtime(&option, value).and_then(|path| set(&mut self.runtime, path, &option)),
        };
        errors.extend(result.err());
    }
}

impl Place {
    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Trait => &["name", "crate"],
            Self::Impl => &["crate"],
            Self::Method => &["name", "oneway", "idempotent", "timeout", "detached", "blocking"],
        }
    }

    fn refusal(self, word: &str) -> String {
        let (last, others) = self.options().split_last().unwrap_or((&"", &[]));
        let takes = match others {
            [] => format!("`{last}`"),
            others => format!("`{}` and `{last}`", others.join("`, `")),
        };
        let is_of_methods = Self::Method.options().contains(&word);
        match self {
            Self::Trait if is_of_methods => format!("`{word}` goes on a method; a trait takes {takes}"),
            Self::Impl if is_of_methods => format!("`{word}` goes on the trait; an `impl` takes {takes}"),
            Self::Trait => format!("unknown option `{word}`: a trait takes {takes}"),
            Self::Impl => format!("unknown option `{word}`: an `impl` takes {takes}"),
            Self::Method => format!("unknown option `{word}`: a method takes {takes}"),
        }
    }
}

/// `option` or `option = value`, as written.
struct Given {
    option: Ident,
    value: Option<Expr>,
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let option = input.call(Ident::parse_any)?;
        let value = if input.parse::<Option<Token![=]>>()?.is_some() { Some(input.parse()?) } else { None };
        Ok(Self { option, value })
    }
}

fn name(place: Place, option: &Ident, value: Option<Expr>) -> syn::Result<LitStr> {
    let name = text(option, value)?;
    let written = name.value();
    if written.is_empty() {
        Err(Error::new_spanned(name, "a name cannot be empty"))
    } else if written.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err(Error::new_spanned(name, "a name has no white space and no control characters"))
    } else if matches!(place, Place::Method) && written.contains('.') {
        Err(Error::new_spanned(name, "a method's name has no dot: the interface's name is put before it"))
    } else {
        Ok(name)
    }
}

fn runtime(option: &Ident, value: Option<Expr>) -> syn::Result<Path> {
    text(option, value)?.parse_with(Path::parse_mod_style)
}

/// A time such as `5s`, in microseconds.
fn timeout(option: &Ident, value: Option<Expr>) -> syn::Result<u64> {
    let text = text(option, value)?;
    duration::micros(&text.value()).map_err(|why| Error::new_spanned(text, why))
}

fn flag(option: &Ident, value: Option<Expr>) -> syn::Result<Ident> {
    match value {
        None => Ok(option.clone()),
        Some(value) => Err(Error::new_spanned(value, format!("`{option}` takes no value"))),
    }
}

fn text(option: &Ident, value: Option<Expr>) -> syn::Result<LitStr> {
    match value {
        Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => Ok(text),
        Some(other) => Err(Error::new_spanned(other, format!("`{option}` takes a text: `{option} = \"..\"`"))),
        None => Err(Error::new_spanned(option, format!("`{option}` takes a text: `{option} = \"..\"`"))),
    }
}

fn set<T>(slot: &mut Option<T>, value: T, option: &Ident) -> syn::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new_spanned(option, format!("`{option}` is given twice"))),
    }
}

/// `#[remote]`, `#[remote(..)]` or the same by a path, as `#[rmi::remote(..)]`.
pub(crate) fn is_remote(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "remote")
}
