//! What every process of a region is made of.
//!
//! [`configuration`] says what it shall be, [`identity`] who it is and whom it talks to (mutual TLS inside one region, invariant
//! R3), [`enrollment`], [`membership`] and [`trust`] how it becomes and stays a member of its region, [`hardening`] what it keeps to itself, [`grpc`] how it talks to its region's other processes, [`serving`] how it serves HTTP to callers and [`calling`] how it passes that on, both of which [`http1`] reads and writes, [`turn`] how calls share a core, [`in_place`] how their room is made, [`outbound`] whom it calls outside, [`lifecycle`] and
//! [`drain`] how it starts and ends, [`resources`] what it may use, [`ops`] and [`telemetry`] what it tells its operators, and [`fault`] how tests make it fail.
//!
//! Nothing here knows accounts, prompts or providers, and nothing here may: prompts pass through [`serving`] as bytes that are neither
//! looked at nor logged (invariant R8).

pub mod backoff;
pub mod calling;
pub mod configuration;
pub mod drain;
pub mod enrollment;
pub mod fault;
pub mod grpc;
pub mod hardening;
pub mod http1;
pub mod identity;
pub mod in_place;
pub mod lifecycle;
pub mod membership;
pub mod ops;
pub mod outbound;
pub mod resources;
pub mod serving;
pub mod socket;
pub mod telemetry;
pub mod trust;
pub mod turn;
