//! One method of a remote interface.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, LitStr, Pat, PatType, Receiver, ReceiverKind, ReturnType, Safety,
    Signature, TraitItemFn, Type, WherePredicate, ext::IdentExt, parse_quote,
};

use super::types;
use crate::{Errors, args::Options, names};

/// A method that is right.
pub(crate) struct Method {
    /// The `#[cfg]`s that stand on it.
    pub(crate) cfgs: Vec<Attribute>,
    /// Its name on the wire, at the user's token.
    pub(crate) name: LitStr,
    /// The signature without the attributes and `mut`s that concern only a body.
    pub(crate) sig: Signature,
    pub(crate) parameters: Vec<Parameter>,
    /// The whole type that it returns.
    pub(crate) result: Type,
    /// What the attribute says of its calls.
    pub(crate) options: Options,
}

/// A parameter: `name: ty`.
pub(crate) struct Parameter {
    pub(crate) ident: Ident,
    /// The type as written.
    pub(crate) written: Type,
    /// The type behind one `&`, if there is one, with its lifetimes left to inference.
    pub(crate) value: Type,
    /// Whether there is a `&`.
    pub(crate) by_reference: bool,
    /// Whether the decoded value may borrow from the request.
    pub(crate) borrows: bool,
}

impl Method {
    /// Reads a method and leaves it in the trait as it is to be expanded.
    pub(crate) fn new(function: &mut TraitItemFn, errors: &mut Errors) -> Option<Self> {
        let errors_before = errors.len();
        let options = Options::take_from(&mut function.attrs, errors);
        check_head(&function.sig, errors);
        check_generics(&function.sig, errors);
        check_receiver(&function.sig, errors);
        let mut sig = function.sig.clone();
        let parameters = parameters(&mut sig, function.default.is_some(), errors);
        let result = result(&sig, errors);
        check_options(&options, result.as_ref(), errors);
        if errors.len() > errors_before {
            mend(function);
            return None;
        }
        let name =
            options.name.clone().unwrap_or_else(|| LitStr::new(&sig.ident.unraw().to_string(), sig.ident.span()));
        let cfgs = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned().collect();
        Some(Self { cfgs, name, sig, parameters, result: result?, options })
    }

    /// The signature as text: what the fingerprint is made of.
    pub(crate) fn signature_text(&self) -> String {
        let parameters = self.parameters.iter().map(|Parameter { ident, written, .. }| {
            format!("{}:{}", ident.unraw(), names::canonical(written.to_token_stream()))
        });
        let parameters = parameters.collect::<Vec<_>>().join(",");
        format!("({parameters})->{}", names::canonical(self.result.to_token_stream()))
    }

    /// Whether some decoded argument may borrow from the request.
    pub(crate) fn borrows(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.borrows)
    }
}

fn check_head(sig: &Signature, errors: &mut Errors) {
    let name = sig.ident.unraw().to_string();
    if names::HIDDEN_METHODS.contains(&name.as_str()) {
        let how =
            format!("`Remote` has a method `{name}` of its own, which would be called instead: choose another name");
        errors.push(Error::new_spanned(&sig.ident, how));
    }
    if sig.asyncness.is_none() {
        errors.push(Error::new_spanned(sig.fn_token, "a remote method is `async`: write `async fn`"));
    }
    let mut refuse = |token: TokenStream| {
        let how = format!("a remote method is a plain `async fn`: remove `{}`", names::canonical(token.clone()));
        errors.push(Error::new_spanned(token, how));
    };
    if let Some(token) = &sig.constness {
        refuse(token.to_token_stream());
    }
    match &sig.safety {
        Safety::Unsafe(token) => refuse(token.to_token_stream()),
        Safety::Safe(token) => refuse(token.to_token_stream()),
        Safety::Default => {}
    }
    if let Some(abi) = &sig.abi {
        refuse(abi.to_token_stream());
    }
    if let Some(variadic) = &sig.variadic {
        refuse(variadic.dots.to_token_stream());
    }
}

fn check_generics(sig: &Signature, errors: &mut Errors) {
    for parameter in &sig.generics.params {
        let ident = match parameter {
            GenericParam::Lifetime(_) => continue,
            GenericParam::Type(parameter) => &parameter.ident,
            GenericParam::Const(parameter) => &parameter.ident,
        };
        let how = "a remote method has no type parameters, since its callee is compiled apart: name the type";
        errors.push(Error::new_spanned(ident, how));
    }
    for predicate in sig.generics.where_clause.iter().flat_map(|clause| &clause.predicates) {
        match predicate {
            WherePredicate::Type(bound) if types::is_self(&bound.bounded_ty) => {
                let how = "a remote method is called on `dyn Trait`: remove this bound on `Self`";
                errors.push(Error::new_spanned(predicate, how));
            }
            WherePredicate::Type(_) => {
                errors.push(Error::new_spanned(predicate, "a remote method has no bounds on types: remove this"));
            }
            _ => {}
        }
    }
}

/// Whether the method can be called on `dyn Trait`.
pub(super) fn can_be_dyn(sig: &Signature) -> bool {
    let generic = sig.generics.params.iter().any(|parameter| !matches!(parameter, GenericParam::Lifetime(_)));
    !generic && sig.receiver().is_some() && !types::names_self_or_opaque(sig)
}

fn check_receiver(sig: &Signature, errors: &mut Errors) {
    let shared = "a remote object is shared by its callers: take `&self`";
    let Some(receiver) = sig.receiver() else {
        errors.push(Error::new_spanned(&sig.ident, "a remote method is called on an object: take `&self` first"));
        return;
    };
    match receiver {
        Receiver { kind: ReceiverKind::Reference(_, _, None), .. } => {}
        Receiver { kind: ReceiverKind::Reference(_, _, Some(token)), .. } => {
            let how = format!("{shared}, and keep what changes behind a lock");
            errors.push(Error::new_spanned(token, how));
        }
        Receiver { kind: ReceiverKind::Typed(_, ty), .. } => errors.push(Error::new_spanned(ty, shared)),
        Receiver { self_token, .. } => errors.push(Error::new_spanned(self_token, shared)),
    }
}

/// The parameters; in the signature they lose what concerns only a body.
fn parameters(sig: &mut Signature, has_body: bool, errors: &mut Errors) -> Vec<Parameter> {
    let typed = sig.inputs.iter_mut().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    typed.filter_map(|typed| parameter(typed, has_body, errors)).collect()
}

fn parameter(typed: &mut PatType, has_body: bool, errors: &mut Errors) -> Option<Parameter> {
    for attribute in typed.attrs.drain(..).filter(|attribute| attribute.path().is_ident("cfg")) {
        let how = "a parameter is there for all or for none: put the `#[cfg]` on the method";
        errors.push(Error::new_spanned(attribute, how));
    }
    types::check_parameter(&typed.ty, errors);
    let ident = match &mut *typed.pat {
        Pat::Ident(plain) if plain.by_ref.is_none() && plain.subpat.is_none() => {
            if let Some(token) = plain.mutability.take()
                && !has_body
            {
                errors.push(Error::new_spanned(token, "`mut` concerns the body: write it in the implementation"));
            }
            plain.ident.clone()
        }
        pattern => {
            let how = "a parameter of a remote method is a plain name: take the value apart in the body";
            errors.push(Error::new_spanned(pattern, how));
            return None;
        }
    };
    let (by_reference, behind) = match types::ungrouped(&typed.ty) {
        Type::Reference(reference) => (true, &*reference.elem),
        _ => (false, &*typed.ty),
    };
    Some(Parameter {
        ident,
        value: types::with_inferred_lifetimes(behind),
        by_reference,
        borrows: types::borrows(&typed.ty),
        written: (*typed.ty).clone(),
    })
}

fn result(sig: &Signature, errors: &mut Errors) -> Option<Type> {
    const HOW: &str =
        "a remote method returns a `Result`, since any call can fail: write `-> rmi::Result<T>` or `-> Result<T, E>`";
    match &sig.output {
        ReturnType::Default => {
            errors.push(Error::new_spanned(&sig.ident, HOW));
            None
        }
        ReturnType::Type(_, ty) => match types::ungrouped(ty) {
            Type::Path(_) | Type::Macro(_) => {
                types::check_result(ty, errors);
                Some((**ty).clone())
            }
            other => {
                errors.push(Error::new_spanned(other, HOW));
                None
            }
        },
    }
}

/// Refuses options that make no sense together, or with the result.
fn check_options(options: &Options, result: Option<&Type>, errors: &mut Errors) {
    if options.oneway.is_none() {
        return;
    }
    if let Some(token) = &options.idempotent {
        let how = "a `oneway` call goes again only where it certainly did not run, since nobody hears of its answer: remove `idempotent`";
        errors.push(Error::new_spanned(token, how));
    }
    if let Some(value) = result.and_then(types::value_of_result) {
        let how = "nobody waits for the answer of a `oneway` call: return `rmi::Result<()>` or `Result<(), E>`";
        errors.push(Error::new_spanned(value, how));
    }
}

/// Changes a wrong method so that rustc finds no second fault in it, nor in its implementations.
fn mend(function: &mut TraitItemFn) {
    function.sig.asyncness.get_or_insert_default();
    if function.default.is_some() {
        return;
    }
    for input in &mut function.sig.inputs {
        if let FnArg::Typed(typed) = input {
            *typed.pat = parse_quote!(_);
        }
    }
}
