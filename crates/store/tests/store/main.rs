//! A store on a real disk, and on a simulated one that fails in every way.

#![cfg(test)]

mod common;
mod crash;
mod damage;
mod follow;
mod follow_crash;
mod follow_steps;
mod marker;
mod model;
mod old_format;
mod scrub;
mod simple;
mod token;
