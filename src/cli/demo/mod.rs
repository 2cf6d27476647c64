//! The demo: a hub with four fictional participants, real communes and synthetic data about nobody.

mod population;
pub mod synthetic;

pub use population::COMMUNES;
