//! What a trait says, checked. Every mistake is reported at the smallest token that can be changed.

mod method;
mod types;

use std::collections::HashMap;

use proc_macro2::Span;
use quote::ToTokens;
use syn::{
    Attribute, Error, GenericParam, ImplItem, Item, ItemImpl, ItemTrait, LitStr, Path, TraitItem, TypeParamBound,
    ext::IdentExt, parse_quote,
};

pub(crate) use self::method::{Method, Parameter};
use crate::{Errors, args, names};

/// A remote interface.
pub(crate) struct Interface {
    /// The trait, before its methods are boxed: options taken out, supertraits completed, and even
    /// where something is wrong as near to what the user wrote as rustc accepts.
    pub(crate) item: ItemTrait,
    /// The name given by the user.
    pub(crate) name: Option<LitStr>,
    /// The supertraits that are remote interfaces.
    pub(crate) bases: Vec<Path>,
    /// The methods that are right, in order.
    pub(crate) methods: Vec<Method>,
}

impl Interface {
    pub(crate) fn new(mut item: ItemTrait, name: Option<LitStr>, errors: &mut Errors) -> Self {
        check_head(&mut item, errors);
        let bases = complete_supertraits(&mut item, errors);
        let mut methods = Methods::default();
        item.items.retain_mut(|member| methods.take(member, errors));
        Self { item, name, bases, methods: methods.right }
    }

    /// Whether `dyn Trait` is a type, whatever else is wrong.
    pub(crate) fn can_be_dyn(&self) -> bool {
        let sized =
            |bound: &TypeParamBound| matches!(bound, TypeParamBound::Trait(bound) if is_marker(&bound.path, "Sized"));
        self.item.generics.params.is_empty()
            && !self.item.supertraits.iter().any(sized)
            && self.item.items.iter().all(|member| match member {
                TraitItem::Fn(function) => method::can_be_dyn(&function.sig),
                _ => false,
            })
    }
}

/// The methods of a trait while they are read.
#[derive(Default)]
struct Methods {
    right: Vec<Method>,
    /// The Rust names and wire names seen so far, and whether a `#[cfg]` stands on them.
    idents: HashMap<String, bool>,
    names: HashMap<String, bool>,
}

impl Methods {
    /// Reads a member of the trait; false if it cannot stay in the trait.
    fn take(&mut self, member: &mut TraitItem, errors: &mut Errors) -> bool {
        let function = match member {
            TraitItem::Fn(function) => function,
            other => {
                errors.push(not_a_method(other));
                return true;
            }
        };
        let sig = &function.sig;
        let conditional = function.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        let ident = sig.ident.unraw();
        if seen_before(&mut self.idents, ident.to_string(), conditional) {
            let how = format!("a second method `{ident}`: a remote interface has one method of a name");
            errors.push(Error::new_spanned(&sig.ident, how));
            return false;
        }
        let Some(method) = Method::new(function, errors) else { return true };
        if seen_before(&mut self.names, method.name.value(), conditional) {
            let how = format!("another method has the name `{}`: give each a name of its own", method.name.value());
            errors.push(Error::new_spanned(&method.name, how));
            return true;
        }
        self.right.push(method);
        true
    }
}

/// Two members of one name are fine where a `#[cfg]` may keep only one of them.
fn seen_before(seen: &mut HashMap<String, bool>, name: String, conditional: bool) -> bool {
    seen.insert(name, conditional).is_some_and(|earlier| !earlier && !conditional)
}

fn not_a_method(member: &TraitItem) -> Error {
    match member {
        TraitItem::Const(constant) => Error::new_spanned(
            &constant.ident,
            "a remote interface has no constants: write a method, or a constant beside the trait",
        ),
        TraitItem::Type(associated) => Error::new_spanned(
            &associated.ident,
            "a remote interface has no associated types: name the type in the methods",
        ),
        other => Error::new_spanned(
            other,
            "a remote interface consists of methods written out: `async fn name(&self, ..) -> Result<T, E>;`",
        ),
    }
}

fn check_head(item: &mut ItemTrait, errors: &mut Errors) {
    if let Some(token) = &item.unsafety {
        errors.push(Error::new_spanned(token, "a remote interface is safe to implement: remove `unsafe`"));
    }
    if let Some(token) = &item.modifiers.auto_token {
        errors.push(Error::new_spanned(token, "a remote interface is implemented, not automatic: remove `auto`"));
    }
    for parameter in &item.generics.params {
        let token = match parameter {
            GenericParam::Lifetime(parameter) => parameter.lifetime.to_token_stream(),
            GenericParam::Type(parameter) => parameter.ident.to_token_stream(),
            GenericParam::Const(parameter) => parameter.ident.to_token_stream(),
        };
        let how = "a remote interface has no generic parameters: write one trait for each type";
        errors.push(Error::new_spanned(token, how));
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.push(Error::new_spanned(
            clause.where_token,
            "a remote interface has no `where` clause: write supertraits after the trait's name",
        ));
    }
    check_attributes(&mut item.attrs, errors);
}

/// Takes out what another attribute would do a second time.
fn check_attributes(attributes: &mut Vec<Attribute>, errors: &mut Errors) {
    let is_async_trait = |attribute: &mut Attribute| {
        attribute.path().segments.last().is_some_and(|segment| segment.ident == "async_trait")
    };
    for attribute in attributes.extract_if(.., is_async_trait) {
        errors.push(Error::new_spanned(attribute.path(), "`#[remote]` does what `#[async_trait]` does: remove it"));
    }
}

/// Adds what is missing of `Send + Sync + 'static`; the other supertraits are the bases.
fn complete_supertraits(item: &mut ItemTrait, errors: &mut Errors) -> Vec<Path> {
    let mut missing: Vec<(&str, TypeParamBound)> = vec![
        ("Send", parse_quote!(::core::marker::Send)),
        ("Sync", parse_quote!(::core::marker::Sync)),
        ("'static", parse_quote!('static)),
    ];
    let mut bases = Vec::new();
    for bound in &item.supertraits {
        let name = match bound {
            TypeParamBound::Lifetime(lifetime) => lifetime.to_string(),
            TypeParamBound::Trait(bound) if is_marker(&bound.path, "Send") => "Send".to_owned(),
            TypeParamBound::Trait(bound) if is_marker(&bound.path, "Sync") => "Sync".to_owned(),
            TypeParamBound::Trait(bound) if is_marker(&bound.path, "Sized") => {
                errors.push(Error::new_spanned(bound, "a remote object is used as `dyn Trait`: remove `Sized`"));
                continue;
            }
            TypeParamBound::Trait(bound) => {
                bases.push(bound.path.clone());
                continue;
            }
            other => {
                errors.push(Error::new_spanned(other, "a supertrait of a remote interface is a remote interface"));
                continue;
            }
        };
        missing.retain(|(marker, _)| *marker != name);
    }
    item.colon_token.get_or_insert_default();
    item.supertraits.extend(missing.into_iter().map(|(_, bound)| bound));
    bases
}

/// Whether the path names this marker of `core`: alone, or in `std::marker` or `core::marker`.
fn is_marker(path: &Path, marker: &str) -> bool {
    let written = names::canonical(path.to_token_stream());
    let modules = ["", "marker::", "std::marker::", "core::marker::", "::std::marker::", "::core::marker::"];
    modules.iter().any(|module| written.strip_prefix(module) == Some(marker))
}

/// Checks an implementation of a remote interface.
pub(crate) fn check_impl(item: &mut ItemImpl, errors: &mut Errors) {
    check_attributes(&mut item.attrs, errors);
    if item.trait_.is_none() {
        errors.push(Error::new_spanned(&item.self_ty, "`#[remote]` goes on `impl Trait for Type`: name the trait"));
        return;
    }
    for member in &mut item.items {
        let ImplItem::Fn(function) = member else { continue };
        for attribute in function.attrs.extract_if(.., |attribute| args::is_remote(attribute)) {
            errors.push(Error::new_spanned(attribute, "the options of a method stand in the trait"));
        }
        if function.sig.asyncness.is_none() {
            errors.push(Error::new_spanned(function.sig.fn_token, "a remote method is `async`: write `async fn`"));
            function.sig.asyncness = Some(Default::default());
        }
    }
}

/// The error for a `#[remote]` on something else than a trait or an implementation.
pub(crate) fn wrong_item(item: &Item) -> Error {
    let span = item.to_token_stream().into_iter().next().map_or_else(Span::call_site, |token| token.span());
    Error::new(span, "`#[remote]` goes on a trait, or on an `impl Trait for Type`")
}
