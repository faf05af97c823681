//! The callee's half: a message becomes a method call.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned};

use super::{argument_codec, interface::bases, result_codec};
use crate::{
    model::{Interface, Method, Parameter},
    names,
};

/// `Interface::dispatch`: an arm for each method, then the bases in turn.
pub(super) fn dispatch(interface: &Interface) -> TokenStream {
    let arms = interface.methods.iter().enumerate().map(|(index, method)| arm(&interface.item.ident, index, method));
    let through_bases = bases(interface).map(|base| {
        let base_as = quote_spanned!(base.span()=> <#base as __rmi::Interface>);
        quote! {
            let __base: __rmi::Arc<#base> = <__rmi::Arc<Self> as ::core::clone::Clone>::clone(&__target);
            let __call = match #base_as::dispatch(__base, __call) {
                ::core::result::Result::Ok(__handler) => return ::core::result::Result::Ok(__handler),
                ::core::result::Result::Err(__call) => __call,
            };
        }
    });
    let any_oneway = interface.methods.iter().any(|method| method.options.oneway.is_some());
    let of_oneway = any_oneway.then(|| {
        quote!(
            use __rmi::{DebugOneway as _, PlainOneway as _};
        )
    });
    quote! {
        fn dispatch(
            __target: __rmi::Arc<Self>,
            __call: __rmi::IncomingCall,
        ) -> ::core::result::Result<__rmi::Handler, __rmi::IncomingCall> {
            use __rmi::{BulkArg as _, BulkRet as _, SerdeArg as _, SerdeRet as _};
            #of_oneway
            match __rmi::IncomingCall::method(&__call) {
                #(#arms)*
                _ => {
                    #(#through_bases)*
                    ::core::result::Result::Err(__call)
                }
            }
        }
    }
}

fn arm(interface: &Ident, index: usize, method: &Method) -> TokenStream {
    let Method { cfgs, sig, parameters, .. } = method;
    let (constant, id) = (names::method(index), names::method_id(index));
    let ident = &sig.ident;
    let locals: Vec<_> = (0..parameters.len()).map(names::argument).collect();
    let decode = parameters.iter().zip(&locals).map(|(parameter, local)| {
        let codec = argument_codec(parameter);
        quote!(let #local = #codec.decode(&mut __arguments)?;)
    });
    let pass = parameters.iter().zip(&locals).map(|(Parameter { value, by_reference, .. }, local)| {
        if *by_reference { quote!(::core::borrow::Borrow::<#value>::borrow(&#local)) } else { quote!(#local) }
    });
    let result = result_codec(method);
    let (answer, refuse) = if method.options.oneway.is_some() {
        (
            quote!(#result.encode(&#constant, __result, __responder)),
            quote!(__rmi::Responder::refuse_unheard(__responder, &#constant, __error)),
        )
    } else {
        (quote!(#result.encode(__result, __responder)), quote!(__rmi::Responder::refuse(__responder, __error)))
    };
    // The arguments stand in a block: the scope of their references ends before the method runs, and they are not moved.
    // The caller gets the credit for its bytes back as soon as nothing borrows from them.
    let release = if method.borrows() { quote!() } else { quote!(::core::mem::drop(__request);) };
    quote! {
        #(#cfgs)*
        #id => ::core::result::Result::Ok(__rmi::IncomingCall::serve(
            __call,
            &#constant,
            move |mut __request, __responder| __rmi::Box::pin(async move {
                let __decoded = {
                    let mut __arguments = __rmi::Request::arguments(&mut __request);
                    let __decoded = (|| {
                        #(#decode)*
                        __rmi::ArgumentDecoder::finish(&mut __arguments)?;
                        ::core::result::Result::Ok::<_, __rmi::RemoteError>((#(#locals,)*))
                    })();
                    __decoded
                };
                #release
                match __decoded {
                    ::core::result::Result::Ok((#(#locals,)*)) => {
                        let __result = <Self as #interface>::#ident(&*__target, #(#pass),*).await;
                        #answer
                    }
                    ::core::result::Result::Err(__error) => #refuse,
                }
            }),
        )),
    }
}
