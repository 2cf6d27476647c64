//! The one integration binary. `harness` boots what the tests need; each other module is a theme.

mod harness;
mod layering;
