//! Code that all tests share: peers, real and scripted daemons, directories.

pub(crate) mod bakers;
pub(crate) mod buildkitd;
pub(crate) mod builds;
pub(crate) mod disk;
pub(crate) mod distribution;
pub(crate) mod events;
pub(crate) mod fake_buildkit;
pub(crate) mod fake_services;
pub(crate) mod files;
pub(crate) mod freeze_proxy;
pub(crate) mod github;
pub(crate) mod home;
pub(crate) mod interrupted;
pub(crate) mod peers;
pub(crate) mod private_registry;
pub(crate) mod project;
pub(crate) mod pty;
pub(crate) mod registry;
pub(crate) mod registry_faults;
pub(crate) mod registry_proxy;
pub(crate) mod releases;
pub(crate) mod splitmix;
pub(crate) mod steps;
