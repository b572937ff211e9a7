mod following;
mod resuming;
mod subscribing;
mod world;
