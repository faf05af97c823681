//! The caller's half: the trait for `Stub`, each method a message.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Path;

use super::{argument_codec, result_codec};
use crate::{
    model::{Interface, Method},
    names,
};

/// `impl Trait for Stub`. Default bodies are not used: a stub always sends.
pub(super) fn implementation(interface: &Interface, runtime: &Path) -> TokenStream {
    let ident = &interface.item.ident;
    let methods = interface.methods.iter().enumerate().map(|(index, method)| implement(index, method));
    quote! {
        #[#runtime::__private::async_trait]
        impl #ident for __rmi::Stub {
            #(#methods)*
        }
    }
}

fn implement(index: usize, method: &Method) -> TokenStream {
    let Method { cfgs, sig, parameters, .. } = method;
    let constant = names::method(index);
    let result = result_codec(method);
    let out = if parameters.is_empty() { quote!(_) } else { quote!(__out) };
    let encode = parameters.iter().map(|parameter| {
        let ident = &parameter.ident;
        let codec = argument_codec(parameter);
        let value = if parameter.by_reference { quote!(#ident) } else { quote!(&#ident) };
        quote!(#codec.encode(__out, #value);)
    });
    quote! {
        #(#cfgs)*
        #sig {
            use __rmi::{BulkArg as _, BulkRet as _, SerdeArg as _, SerdeRet as _};
            // Called again where the call goes again; it owns the arguments until then.
            let mut __encode = move |#out: &mut __rmi::ArgumentEncoder| {
                #(#encode)*
            };
            let __answer = __rmi::Stub::call(self, &#constant, &mut __encode).await;
            #result.decode(__answer)
        }
    }
}
