//! The types of parameters and results, as far as tokens tell.

use quote::ToTokens;
use syn::{
    Error, GenericArgument, Generics, Lifetime, Path, PathArguments, Receiver, Signature, Type, TypeImplTrait,
    TypeReference,
    visit::{self, Visit},
    visit_mut::{self, VisitMut},
};

use crate::Errors;

/// The type without parentheses and without the invisible group of a macro's `$ty`.
pub(super) fn ungrouped(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

pub(super) fn is_self(ty: &Type) -> bool {
    matches!(ungrouped(ty), Type::Path(path) if path.path.is_ident("Self"))
}

pub(super) fn check_parameter(ty: &Type, errors: &mut Errors) {
    Check { result: false, errors }.visit_type(ty);
}

pub(super) fn check_result(ty: &Type, errors: &mut Errors) {
    Check { result: true, errors }.visit_type(ty);
}

struct Check<'e> {
    result: bool,
    errors: &'e mut Errors,
}

impl Check<'_> {
    fn refuse(&mut self, token: impl ToTokens, how: &str) {
        self.errors.push(Error::new_spanned(token, how));
    }
}

impl<'ast> Visit<'ast> for Check<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        if self.result {
            return self.refuse(reference, "a result leaves its object for good: return an owned type");
        }
        if let Some(token) = &reference.mutability {
            self.refuse(token, "a call cannot write through `&mut`: return the new value");
        }
        if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident == "static") {
            self.refuse(lifetime, "a borrowed argument lives as long as the call: remove `'static`");
        }
        self.visit_type(&reference.elem);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if self.result && lifetime.ident != "static" {
            self.refuse(lifetime, "a result leaves its object for good: return an owned type");
        }
    }

    fn visit_type_impl_trait(&mut self, opaque: &'ast TypeImplTrait) {
        self.refuse(opaque, "both sides must know the type: name it, or take `Remote<dyn Trait>`");
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if let Some(first) = path.segments.first().filter(|segment| segment.ident == "Self") {
            return self.refuse(&first.ident, "callers know only `dyn Trait`: name the type instead of `Self`");
        }
        visit::visit_path(self, path);
    }
}

/// The value of a `Result`, where its tokens show that it is not `()`. What is but a name may be an alias of it.
pub(super) fn value_of_result(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ungrouped(ty) else { return None };
    let result = path.path.segments.last().filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &result.arguments else { return None };
    let GenericArgument::Type(value) = arguments.args.first()? else { return None };
    match ungrouped(value) {
        Type::Tuple(tuple) if tuple.elems.is_empty() => None,
        Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.arguments.is_empty()) => None,
        Type::Macro(_) => None,
        _ => Some(value),
    }
}

/// The type with every named lifetime left to inference, as an expression can name it.
pub(super) fn with_inferred_lifetimes(ty: &Type) -> Type {
    struct Infer;
    impl VisitMut for Infer {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                *lifetime = Lifetime::new("'_", lifetime.span());
            }
        }
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            reference.lifetime = None;
            visit_mut::visit_type_reference_mut(self, reference);
        }
    }
    let mut ty = ty.clone();
    Infer.visit_type_mut(&mut ty);
    ty
}

/// Whether a reference or a lifetime is written in the type.
pub(super) fn borrows(ty: &Type) -> bool {
    struct Borrows(bool);
    impl<'ast> Visit<'ast> for Borrows {
        fn visit_type_reference(&mut self, _: &'ast TypeReference) {
            self.0 = true;
        }
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.0 |= lifetime.ident != "static";
        }
    }
    let mut found = Borrows(false);
    found.visit_type(ty);
    found.0
}

/// Whether `Self` or an `impl Trait` stands in a parameter's type or in the result.
pub(super) fn names_self_or_opaque(sig: &Signature) -> bool {
    struct Found(bool);
    impl<'ast> Visit<'ast> for Found {
        fn visit_receiver(&mut self, _: &'ast Receiver) {}
        fn visit_generics(&mut self, _: &'ast Generics) {}
        fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
            self.0 = true;
        }
        fn visit_path(&mut self, path: &'ast Path) {
            self.0 |= path.segments.first().is_some_and(|segment| segment.ident == "Self");
            visit::visit_path(self, path);
        }
    }
    let mut found = Found(false);
    found.visit_signature(sig);
    found.0
}
