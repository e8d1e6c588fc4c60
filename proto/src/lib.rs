//! BuildKit's wire messages, as rbake needs them.
//!
//! The `.proto` files in `proto/` are rbake's own: the same wire format under names of Rust's style, with three liberties.
//! Definitions of build graphs, and maps whose values are messages, are `bytes` where they must travel unchanged; paths are
//! `bytes`, since names on disk need not be UTF-8; what may hold credentials has no `Debug`. The sources in `src/generated`
//! are made by `cargo xtask proto update`, clients and servers both.

#![allow(clippy::all, reason = "generated code follows its generator's style")]

pub mod codec;

/// Parts of the solver's vocabulary (`pb`).
pub mod pb {
    include!("generated/pb.rs");
}

/// Packages below `moby`; the short names beside this module are the ones to use.
pub mod moby {
    /// Packages below `moby.buildkit`.
    pub mod buildkit {
        /// The control interface.
        pub mod v1 {
            include!("generated/moby.buildkit.v1.rs");

            /// Capabilities.
            pub mod apicaps {
                include!("generated/moby.buildkit.v1.apicaps.rs");
            }
            /// The gateway.
            pub mod frontend {
                include!("generated/moby.buildkit.v1.frontend.rs");
            }
            /// Source policies.
            pub mod sourcepolicy {
                include!("generated/moby.buildkit.v1.sourcepolicy.rs");

                /// Source policies decided by the client.
                pub mod policysession {
                    include!("generated/moby.buildkit.v1.sourcepolicy.policysession.rs");
                }
            }
            /// Workers.
            pub mod types {
                include!("generated/moby.buildkit.v1.types.rs");
            }
        }
        /// Secrets.
        pub mod secrets {
            /// Version 1.
            pub mod v1 {
                include!("generated/moby.buildkit.secrets.v1.rs");
            }
        }
    }
    /// Exporters chosen by the client.
    pub mod exporter {
        /// Version 1.
        pub mod v1 {
            include!("generated/moby.exporter.v1.rs");
        }
    }
    /// Directory transfer and authentication.
    pub mod filesync {
        /// Version 1.
        pub mod v1 {
            include!("generated/moby.filesync.v1.rs");
            include!("generated/moby.filesync.v1.FileSend.rs");
        }
    }
    /// Agent forwarding.
    pub mod sshforward {
        /// Version 1.
        pub mod v1 {
            include!("generated/moby.sshforward.v1.rs");
        }
    }
    /// Uploads.
    pub mod upload {
        /// Version 1.
        pub mod v1 {
            include!("generated/moby.upload.v1.rs");
        }
    }
}

/// Packages below `fsutil`.
pub mod fsutil {
    /// Packets of a directory transfer.
    pub mod types {
        include!("generated/fsutil.types.rs");
    }
}

/// Packages below `containerd`.
pub mod containerd {
    /// Services.
    pub mod services {
        /// The content store.
        pub mod content {
            /// Version 1.
            pub mod v1 {
                include!("generated/containerd.services.content.v1.rs");
            }
        }
    }
}

/// Packages below `google`.
pub mod google {
    /// Errors with details.
    pub mod rpc {
        include!("generated/google.rpc.rs");
    }
}

/// Packages below `grpc`.
pub mod grpc {
    /// Health checks.
    pub mod health {
        /// Version 1.
        pub mod v1 {
            include!("generated/grpc.health.v1.rs");
        }
    }
}

pub use containerd::services::content::v1 as content;
pub use fsutil::types as packet;
pub use google::rpc;
pub use grpc::health::v1 as health;
pub use moby::buildkit::secrets::v1 as secrets;
pub use moby::buildkit::v1 as control;
pub use moby::buildkit::v1::apicaps;
pub use moby::buildkit::v1::frontend as gateway;
pub use moby::buildkit::v1::sourcepolicy;
pub use moby::buildkit::v1::sourcepolicy::policysession;
pub use moby::buildkit::v1::types as worker;
pub use moby::exporter::v1 as exporter;
pub use moby::filesync::v1 as filesync;
pub use moby::sshforward::v1 as ssh;
pub use moby::upload::v1 as upload;
