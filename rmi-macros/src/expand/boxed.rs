//! Async methods of a trait that is used as `dyn`: each returns its future in a box.
//!
//! Whatever a method borrows, its object too, is borrowed for one lifetime, that of its future. A bound of its own on
//! `Self`, as in `Self: 'call`, would make rustc prove `Send` for all that a node is made of in each implementation
//! anew, since what it proves beside such a bound it does not remember; that takes half a second each.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Block, FnArg, GenericParam, Lifetime, ParenthesizedGenericArguments, Pat, Path, ReceiverKind, ReturnType,
    Signature, Type, TypeFnPtr, TypeReference, WherePredicate, parse_quote, parse_quote_spanned,
    visit_mut::{self, VisitMut},
};

use super::generated_at;

/// Makes the signature of an async method that of a plain one, whose result is a future. With a body, which becomes
/// the future's, its parameters are plain names.
pub(super) fn method(sig: &mut Signature, body: Option<&mut Block>, runtime: &Path) {
    let mut result: Type = match &sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    if let Some(body) = body {
        let parameters = sig.inputs.iter_mut().enumerate().map(|(index, input)| own_parameter(index, input));
        let parameters: TokenStream = parameters.collect();
        *body = in_future(body, &parameters, &result, runtime);
    }
    borrow_for_call(sig);
    Named.visit_type_mut(&mut result);
    sig.asyncness = None;
    let call = call();
    sig.output = parse_quote_spanned!(generated_at(&result)=>
        -> ::core::pin::Pin<
            #runtime::__private::Box<
                dyn ::core::future::Future<Output = #result> + ::core::marker::Send + #call
            >
        >
    );
}

fn call() -> Lifetime {
    Lifetime::new("'__call", Span::call_site())
}

/// Whatever the parameters borrow lives as long as the call.
fn borrow_for_call(sig: &mut Signature) {
    sig.inputs.iter_mut().for_each(|input| Named.visit_fn_arg_mut(input));
    let call = call();
    let outlive = sig.generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Lifetime(parameter) => {
            let lifetime = &parameter.lifetime;
            Some(parse_quote!(#lifetime: #call))
        }
        // A mistake, of which rustc is to find nothing more to say.
        GenericParam::Type(parameter) => {
            let ident = &parameter.ident;
            Some(parse_quote!(#ident: ::core::marker::Send + #call))
        }
        GenericParam::Const(_) => None,
    });
    let outlive: Vec<WherePredicate> = outlive.collect();
    if !outlive.is_empty() {
        sig.generics.make_where_clause().predicates.extend(outlive);
    }
    sig.generics.params.insert(0, parse_quote!(#call));
    sig.generics.lt_token.get_or_insert_default();
    sig.generics.gt_token.get_or_insert_default();
}

/// Names the lifetimes that are not.
struct Named;

impl VisitMut for Named {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            *lifetime = Lifetime { apostrophe: lifetime.apostrophe, ..call() };
        }
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference.lifetime.get_or_insert_with(call);
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_receiver_kind_mut(&mut self, kind: &mut ReceiverKind) {
        if let ReceiverKind::Reference(_, lifetime, _) = kind {
            lifetime.get_or_insert_with(call);
        }
        visit_mut::visit_receiver_kind_mut(self, kind);
    }

    /// These have lifetimes of their own.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}

    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// A parameter belongs to the future, whether or not its body uses it.
fn own_parameter(index: usize, input: &mut FnArg) -> TokenStream {
    let FnArg::Typed(typed) = input else { return TokenStream::new() };
    let cfgs: Vec<_> = typed.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let pattern = typed.pat.clone();
    if let Pat::Ident(plain) = &mut *typed.pat
        && plain.by_ref.is_none()
        && plain.subpat.is_none()
    {
        plain.mutability = None;
        let ident = &plain.ident;
        return quote! {
            #(#cfgs)*
            #[allow(clippy::used_underscore_binding, clippy::no_effect_underscore_binding)]
            let #pattern = #ident;
        };
    }
    let name = format_ident!("__argument_{index}");
    let own = quote!(#(#cfgs)* let #name = #name; #(#cfgs)* let #pattern = #name;);
    *typed.pat = parse_quote!(#name);
    own
}

fn in_future(body: &Block, parameters: &TokenStream, result: &Type, runtime: &Path) -> Block {
    // The first line tells rustc the type that `return` and `?` give. What the end of the body borrows of parameters
    // ends before they do.
    let future = quote_spanned! {generated_at(body)=>
        if let ::core::option::Option::Some(__result) = ::core::option::Option::None::<#result> {
            #[allow(unreachable_code)]
            return __result;
        }
        #parameters
        #[allow(clippy::diverging_sub_expression)]
        let __result: #result = #body;
        #[allow(unreachable_code)]
        __result
    };
    parse_quote!({ #runtime::__private::Box::pin(async move { #future }) })
}
