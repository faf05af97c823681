//! The expansion, as a reader sees it: `cargo insta review` shows what has changed.

use quote::quote;

use super::*;

fn expanded(options: TokenStream, item: TokenStream) -> String {
    let file = syn::parse2(remote(options, item)).expect("the expansion is a file of items");
    prettyplease::unparse(&file)
}

#[test]
fn an_interface() {
    let bank = quote! {
        /// A bank.
        pub trait Bank {
            /// Opens an account.
            async fn open(&self, owner: &str, limits: &[i64], note: Option<&str>) -> Result<Receipt, BankError>;
            #[cfg(feature = "scan")]
            #[remote(name = "scan-page")]
            #[deprecated]
            async fn scan(&self, image: Vec<u8>) -> rmi::Result<Vec<u8>> {
                Ok(image)
            }
        }
    };
    insta::assert_snapshot!(expanded(quote!(crate = "rmi"), bank));
}

#[test]
fn an_interface_with_bases_and_a_name() {
    let savings = quote! {
        trait Savings: Account + bank::Audited + Send {}
    };
    insta::assert_snapshot!(expanded(quote!(crate = "rmi", name = "com.example.Savings"), savings));
}

#[test]
fn an_interface_with_options() {
    let options = quote! {
        trait Press {
            #[remote(oneway, timeout = "1.5s", detached)]
            async fn print(&self, page: String) -> Result<(), PressError>;
            #[remote(idempotent, blocking, timeout = "2m")]
            async fn count(&self) -> rmi::Result<u64>;
        }
    };
    insta::assert_snapshot!(expanded(quote!(crate = "rmi"), options));
}

#[test]
fn an_implementation() {
    let implementation = quote! {
        impl<S: Store> Account for Ledger<S> {
            async fn balance(&self) -> rmi::Result<i64> {
                Ok(self.cents)
            }
        }
    };
    insta::assert_snapshot!(expanded(quote!(crate = "rmi"), implementation));
}

#[test]
fn a_wrong_trait_is_emitted_all_the_same() {
    let wrong = quote! {
        trait Bank {
            fn balance(&self, (owner, at): (String, u64)) -> rmi::Result<i64>;
        }
    };
    insta::assert_snapshot!(expanded(quote!(crate = "rmi"), wrong));
}
