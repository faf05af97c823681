//! The caller's half: the trait for `Stub`, each method a message.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Path;

use super::{argument_codec, boxed, calling, owned_argument, result_codec};
use crate::{
    model::{Interface, Method},
    names,
};

/// `impl Trait for Stub`. Default bodies are not used: a stub always sends.
pub(super) fn implementation(interface: &Interface, runtime: &Path) -> TokenStream {
    let ident = &interface.item.ident;
    let methods = interface.methods.iter().enumerate().map(|(index, method)| implement(index, method, runtime));
    quote! {
        impl #ident for __rmi::Stub {
            #(#methods)*
        }
    }
}

fn implement(index: usize, method: &Method, runtime: &Path) -> TokenStream {
    let Method { cfgs, parameters, .. } = method;
    let mut sig = method.sig.clone();
    boxed::method(&mut sig, None, runtime);
    let constant = names::method(index);
    let result = result_codec(method);
    let out = if parameters.is_empty() { quote!(_) } else { quote!(__out) };
    let (mut own, mut encode) = (Vec::new(), Vec::new());
    for parameter in parameters {
        let ident = &parameter.ident;
        if parameter.by_reference {
            let codec = argument_codec(parameter);
            encode.push(quote!(#codec.encode(__out, #ident);));
        } else {
            // Kept in a form that can be sent without a copy, more than once.
            let (owned, codec) = owned_argument(parameter);
            own.push(quote!(let #ident = #owned;));
            encode.push(quote!(#codec.encode(__out, &#ident);));
        }
    }
    let (call, of_result) = calling(method);
    quote! {
        #(#cfgs)*
        #sig {
            use __rmi::{BulkArg as _, BulkOwned as _, SerdeArg as _, SerdeOwned as _, #of_result};
            #(#own)*
            // Called again where the call goes again; it owns the arguments until then.
            let __encode = move |#out: &mut __rmi::ArgumentEncoder| {
                #(#encode)*
            };
            __rmi::Stub::#call(self, &#constant, __encode, |__answer| #result.decode(__answer))
        }
    }
}
