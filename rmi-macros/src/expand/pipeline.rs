//! The methods of an interface on a result that has not arrived: each gives a promise.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{ReturnType, parse_quote_spanned, spanned::Spanned};

use super::{argument_codec, calling, generated_at, interface::bases, owned_argument, result_codec};
use crate::{
    model::{Interface, Method},
    names,
};

/// A struct with these methods, which leads on to those of the bases.
pub(super) fn methods(interface: &Interface) -> TokenStream {
    let methods = interface.methods.iter().enumerate().map(|(index, method)| promise(index, method));
    quote! {
        #[allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations)]
        pub struct __Pipelined<__Rest> {
            pipe: __rmi::Pipe,
            rest: __Rest,
        }

        #[diagnostic::do_not_recommend]
        impl<__Rest: __rmi::Pipelined> __rmi::Pipelined for __Pipelined<__Rest> {
            fn on(__pipe: &__rmi::Pipe) -> Self {
                Self { pipe: ::core::clone::Clone::clone(__pipe), rest: <__Rest as __rmi::Pipelined>::on(__pipe) }
            }
        }

        #[diagnostic::do_not_recommend]
        impl<__Rest> ::core::ops::Deref for __Pipelined<__Rest> {
            type Target = __Rest;
            fn deref(&self) -> &__Rest {
                &self.rest
            }
        }

        #[allow(dead_code, unreachable_pub, missing_docs)]
        impl<__Rest> __Pipelined<__Rest> {
            #(#methods)*
        }
    }
}

/// `Interface::Pipelined`: own methods first, then those of the bases in turn.
pub(super) fn of_interface(interface: &Interface) -> TokenStream {
    let bases: Vec<_> = bases(interface).collect();
    let rest = bases.iter().rev().fold(quote!(__Rest), |rest, base| {
        let base_as = quote_spanned!(base.span()=> <#base as __rmi::Interface>);
        quote!(#base_as::Pipelined<#rest>)
    });
    // A base that is no interface is blamed where it stands.
    let place = bases.first().map_or_else(Span::call_site, generated_at);
    quote_spanned!(place=> type Pipelined<__Rest: __rmi::Pipelined> = __Pipelined<#rest>;)
}

fn promise(index: usize, method: &Method) -> TokenStream {
    let Method { cfgs, parameters, result, .. } = method;
    let constant = names::method(index);
    let codec = result_codec(method);
    let mut sig = method.sig.clone();
    sig.asyncness = None;
    sig.output = ReturnType::Type(
        parse_quote_spanned!(generated_at(result)=> ->),
        parse_quote_spanned!(generated_at(result)=> __rmi::Promise<#result>),
    );
    let out = if parameters.is_empty() { quote!(_) } else { quote!(__out) };
    let encode = parameters.iter().map(|parameter| {
        let ident = &parameter.ident;
        if parameter.by_reference {
            let codec = argument_codec(parameter);
            quote!(#codec.encode(__out, #ident);)
        } else {
            let (owned, codec) = owned_argument(parameter);
            quote!(#codec.encode(__out, &#owned);)
        }
    });
    let (call, of_result) = calling(method);
    quote! {
        #(#cfgs)*
        pub #sig {
            use __rmi::{BulkArg as _, BulkOwned as _, SerdeArg as _, SerdeOwned as _, #of_result};
            let __encode = |#out: &mut __rmi::ArgumentEncoder| {
                #(#encode)*
            };
            __rmi::Pipe::#call(&self.pipe, &#constant, __encode, #codec)
        }
    }
}
