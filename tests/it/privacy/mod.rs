//! The limits over all queries: counts, rates, approved queries, budgets of privacy, differences between answers.

mod budgets;
mod crash;
mod limits;
mod noise;
mod policies;
mod templates;
