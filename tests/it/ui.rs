//! What `#[remote]` says of a mistake, one mistake a file, and what it has to accept.
//!
//! `TRYBUILD=overwrite` writes the expected output anew.

#[test]
fn the_macro_names_each_mistake_at_its_token_and_accepts_the_rest() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
