//! The service above its ports: what it answers, retries, gives up and remembers, against a scripted database and a clock that
//! jumps. No runtime, no socket: the service needs neither.

mod answers;
mod contract;
mod fakes;
mod jobs;
mod levers;
mod outages;
mod run;
