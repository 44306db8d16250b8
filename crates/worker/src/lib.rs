//! groundbreak-worker
