//! The life of sessions against a plain model: PROTOCOL 2.4 and 2.5 written once more, with lists that are searched
//! from end to end and no thought of speed. Whatever order things happen in, the two must agree after each of them.

mod both;
mod compare;
mod protocol;
mod steps;

use proptest::prelude::*;

use self::{
    both::Both,
    steps::{rules, steps},
};

proptest! {
    #[test]
    fn the_registry_agrees_with_the_model_after_every_step(rules in rules(), steps in steps()) {
        let mut both = Both::new(rules);
        for step in &steps {
            both.happen(step);
            both.compare();
        }
        both.wind_up();
    }
}
