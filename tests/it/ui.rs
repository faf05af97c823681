//! What `#[remote]` says of a mistake, one mistake a file. What it has to accept stands in `tests/accepted`.
//!
//! `TRYBUILD=overwrite` writes the expected output anew.

#[test]
fn the_macro_names_each_mistake_at_its_token() {
    // With a case that is to pass, all that the runtime stands on would be built and not only checked: minutes more.
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
