//! What makes `dyn Trait` an interface: its description, and the traits of the runtime.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Path, Type, ext::IdentExt, parse_quote_spanned, spanned::Spanned};

use super::{pipeline, skeleton, stub};
use crate::{model::Interface, names};

/// Everything beside the trait itself.
pub(super) fn glue(interface: &Interface, runtime: &Path) -> TokenStream {
    let description = description(interface);
    let dispatch = skeleton::dispatch(interface);
    let cast = cast(interface);
    let pipelined = pipeline::of_interface(interface);
    let interface_of_dyn = quote! {
        fn descriptor() -> &'static __rmi::InterfaceDescriptor {
            &__DESCRIPTOR
        }
        fn from_stub(__stub: __rmi::Arc<__rmi::Stub>) -> __rmi::Arc<Self> {
            __stub
        }
        #dispatch
        #cast
        #pipelined
    };
    let stub = stub::implementation(interface, runtime);
    let pipeline = pipeline::methods(interface);
    frame(interface, runtime, &quote!(#description #stub #pipeline), &interface_of_dyn)
}

/// The same for a trait with errors, so that what uses the trait has none because of them.
pub(super) fn glue_of_wrong(interface: &Interface, runtime: &Path) -> TokenStream {
    let interface_of_dyn = quote! {
        fn descriptor() -> &'static __rmi::InterfaceDescriptor {
            ::core::unreachable!()
        }
        fn from_stub(_: __rmi::Arc<__rmi::Stub>) -> __rmi::Arc<Self> {
            ::core::unreachable!()
        }
        fn dispatch(
            _: __rmi::Arc<Self>,
            __call: __rmi::IncomingCall,
        ) -> ::core::result::Result<__rmi::Handler, __rmi::IncomingCall> {
            ::core::result::Result::Err(__call)
        }
        fn cast(
            _: __rmi::Arc<Self>,
            _: ::core::any::TypeId,
        ) -> ::core::option::Option<__rmi::Box<dyn ::core::any::Any + ::core::marker::Send>> {
            ::core::option::Option::None
        }
        type Pipelined<__Rest: __rmi::Pipelined> = __Rest;
    };
    frame(interface, runtime, &TokenStream::new(), &interface_of_dyn)
}

fn frame(interface: &Interface, runtime: &Path, items: &TokenStream, interface_of_dyn: &TokenStream) -> TokenStream {
    let ident = &interface.item.ident;
    quote! {
        #[allow(deprecated)]
        const _: () = {
            use #runtime::__private as __rmi;

            #items

            #[diagnostic::do_not_recommend]
            impl __rmi::Interface for dyn #ident {
                #interface_of_dyn
            }

            #[diagnostic::do_not_recommend]
            impl<__T: ?::core::marker::Sized + #ident> __rmi::ImplementedBy<__T> for dyn #ident {
                fn wrap(__object: __T) -> __rmi::Arc<Self>
                where
                    __T: ::core::marker::Sized,
                {
                    __rmi::Arc::new(__object)
                }
            }
        };
    }
}

/// Name, methods and descriptor, and their registration.
fn description(interface: &Interface) -> TokenStream {
    let ident = &interface.item.ident;
    let trait_name = ident.unraw().to_string();
    let path = format!("::{trait_name}");
    let name = match &interface.name {
        Some(name) => quote!(explicit(#name)),
        None => quote!(derived(::core::module_path!(), #trait_name)),
    };
    let constants = interface.methods.iter().enumerate().map(|(index, method)| {
        let (cfgs, name) = (&method.cfgs, &method.name);
        let (constant, id) = (names::method(index), names::method_id(index));
        let signature = method.signature_text();
        let options = &method.options;
        let idempotent = options.idempotent.is_some().then(|| quote!(.idempotent()));
        let timeout = options.timeout.map(|micros| quote!(.timeout_micros(#micros)));
        let detached = options.detached.is_some().then(|| quote!(.detached()));
        let blocking = options.blocking.is_some().then(|| quote!(.blocking()));
        let described = quote_spanned! {name.span()=>
            __rmi::Method::new(__NAME, #name, #signature) #idempotent #timeout #detached #blocking
        };
        quote! {
            #(#cfgs)* const #constant: __rmi::Method = #described;
            #(#cfgs)* const #id: __rmi::MethodId = #constant.id;
        }
    });
    let methods = interface.methods.iter().enumerate().map(|(index, method)| {
        let (cfgs, constant) = (&method.cfgs, names::method(index));
        quote!(#(#cfgs)* #constant)
    });
    let bases = bases(interface).map(|base| quote_spanned!(base.span()=> <#base as __rmi::Interface>::descriptor));
    let distinct = quote_spanned!(ident.span()=> __rmi::assert_distinct(__METHODS));
    quote! {
        const __NAME: __rmi::InterfaceName = __rmi::InterfaceName::#name;
        #(#constants)*
        const __METHODS: &[__rmi::Method] = &[#(#methods),*];
        const _: () = #distinct;
        static __DESCRIPTOR: __rmi::InterfaceDescriptor = __rmi::InterfaceDescriptor::new(
            __NAME,
            ::core::concat!(::core::module_path!(), #path),
            __METHODS,
            &[#(#bases),*],
        );
        __rmi::inventory::submit! { __rmi::Registered(&__DESCRIPTOR) }
    }
}

/// The bases as types, `dyn Base`.
pub(super) fn bases(interface: &Interface) -> impl Iterator<Item = Type> {
    interface.bases.iter().map(|base| parse_quote_spanned!(base.span()=> dyn #base))
}

fn cast(interface: &Interface) -> TokenStream {
    let through_bases = bases(interface).map(|base| {
        let base_as = quote_spanned!(base.span()=> <#base as __rmi::Interface>);
        quote! {
            let __base: __rmi::Arc<#base> = <__rmi::Arc<Self> as ::core::clone::Clone>::clone(&__target);
            if let ::core::option::Option::Some(__found) = #base_as::cast(__base, __wanted) {
                return ::core::option::Option::Some(__found);
            }
        }
    });
    quote! {
        fn cast(
            __target: __rmi::Arc<Self>,
            __wanted: ::core::any::TypeId,
        ) -> ::core::option::Option<__rmi::Box<dyn ::core::any::Any + ::core::marker::Send>> {
            if __wanted == ::core::any::TypeId::of::<Self>() {
                return ::core::option::Option::Some(__rmi::Box::new(__target));
            }
            #(#through_bases)*
            ::core::option::Option::None
        }
    }
}
