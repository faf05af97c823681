//! Writes the generated code. All that it names is in the runtime's `__private`; all that it
//! defines is in a `const _`, under names that begin with `__`.

mod boxed;
mod interface;
mod pipeline;
mod skeleton;
mod stub;
#[cfg(test)]
mod tests;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, ImplItem, ImplItemFn, Item, ItemImpl, ItemTrait, Path, TraitItem, TraitItemFn, spanned::Spanned};

use crate::{
    Errors,
    args::{Options, Place},
    model::{self, Interface, Method, Parameter},
    names,
};

/// `#[remote(options)] item`.
pub(crate) fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let code = match syn::parse2(item.clone()) {
        Ok(Item::Trait(item)) => remote_trait(options, item, &mut errors),
        Ok(Item::Impl(item)) => remote_impl(options, item, &mut errors),
        Ok(other) => {
            errors.push(model::wrong_item(&other));
            item
        }
        Err(error) => {
            errors.push(error);
            item
        }
    };
    let errors = errors.iter().map(Error::to_compile_error);
    quote!(#code #(#errors)*)
}

fn remote_trait(options: TokenStream, item: ItemTrait, errors: &mut Errors) -> TokenStream {
    let options = Options::parse(Place::Trait, options, errors);
    let interface = Interface::new(item, options.name, errors);
    let Some(runtime) = runtime(options.runtime, errors) else { return interface.item.into_token_stream() };
    let glue = if errors.is_empty() {
        interface::glue(&interface, &runtime)
    } else if interface.can_be_dyn() {
        interface::glue_of_wrong(&interface, &runtime)
    } else {
        TokenStream::new()
    };
    let mut item = interface.item;
    for member in &mut item.items {
        if let TraitItem::Fn(TraitItemFn { sig, default, .. }) = member {
            boxed::method(sig, default.as_mut(), &runtime);
        }
    }
    quote!(#item #glue)
}

fn remote_impl(options: TokenStream, mut item: ItemImpl, errors: &mut Errors) -> TokenStream {
    let options = Options::parse(Place::Impl, options, errors);
    model::check_impl(&mut item, errors);
    let runtime = runtime(options.runtime, errors);
    if let Some(runtime) = runtime.filter(|_| item.trait_.is_some()) {
        for member in &mut item.items {
            if let ImplItem::Fn(ImplItemFn { sig, block, .. }) = member {
                boxed::method(sig, Some(block), &runtime);
            }
        }
    }
    item.into_token_stream()
}

fn runtime(given: Option<Path>, errors: &mut Errors) -> Option<Path> {
    let found = given.map_or_else(names::runtime, Ok);
    found.map_err(|error| errors.push(error)).ok()
}

/// What encodes and decodes values of the parameter's type; rustc blames the type where nothing can.
fn argument_codec(parameter: &Parameter) -> TokenStream {
    let value = &parameter.value;
    quote_spanned!(generated_at(value)=> (&__rmi::Arg::<#value>::NEW).codec())
}

/// What a stub turns an argument into that it owns, and how it encodes that; rustc blames the type where
/// nothing can.
fn owned_argument(parameter: &Parameter) -> (TokenStream, TokenStream) {
    let (ident, value) = (&parameter.ident, &parameter.value);
    let owned = quote!((&__rmi::Arg::<#value>::NEW).own(#ident));
    (owned, quote_spanned!(generated_at(value)=> (&__rmi::Arg::<#value>::NEW).owned_codec()))
}

/// What encodes and decodes the method's results; rustc blames the type where nothing can.
fn result_codec(method: &Method) -> TokenStream {
    let result = &method.result;
    if method.options.oneway.is_some() {
        return quote_spanned!(generated_at(result)=> (&__rmi::Oneway::<#result>::NEW).codec());
    }
    quote_spanned!(generated_at(result)=> (&__rmi::Ret::<#result>::NEW).codec())
}

/// The function that makes a call of the method, and the traits by which its results are found out.
fn calling(method: &Method) -> (TokenStream, TokenStream) {
    if method.options.oneway.is_some() {
        (quote!(send), quote!(DebugOneway as _, PlainOneway as _))
    } else {
        (quote!(call), quote!(BulkRet as _, SerdeRet as _))
    }
}

/// The place of the user's tokens for errors, and yet generated code for lints.
fn generated_at(tokens: &impl Spanned) -> Span {
    Span::call_site().located_at(tokens.span())
}
